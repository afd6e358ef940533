"""The names that mail programs give to the folders of each role, in many languages.

The names of a role are in order of preference: if a listing has several, the first wins. Names that people
also give to ordinary folders ("Todos", "Bulk") are not included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Role to names, separated by semicolons or line ends.
NAMES: Final[Mapping[str, str]] = {
    "sent": """
        Sent; Sent Items; Sent Mail; Sent Messages; Sent-Mail; sent_mail; SentMail; Gesendet
        Gesendete; Gesendete Elemente; Gesendete Objekte; Gesendete Nachrichten
        Postausgang gesendet; Envoyés; Éléments envoyés; Messages envoyés; Objets envoyés
        Courriers envoyés; Envoyé; Enviados; Elementos enviados; Mensajes enviados; Correo enviado
        Enviado; Itens enviados; E-mails enviados; Mensagens enviadas; Enviadas; Elements enviats
        Enviats; Inviata; Inviati; Posta inviata; Elementi inviati; Messaggi inviati; Verzonden
        Verzonden items; Verzonden berichten; Verstuurd; Wysłane; Elementy wysłane; Skickat
        Skickade; Skickade objekt; Skickade meddelanden; Sendt; Sendt post; Sendte elementer
        Sendte; Sendte meddelelser; Sendte mails; Lähetetyt; Lähetetyt viestit; Odeslané
        Odeslaná pošta; Odoslané; Odoslaná pošta; Отправленные; Отправленное; Надіслані
        Gönderilmiş Öğeler; Gönderilmiş Postalar; Gönderilen; Gönderilmiş; Gönderilenler
        Elküldött elemek; Elküldött; Elküldött üzenetek; Trimise; Mesaje trimise; Απεσταλμένα
        Изпратени; Poslano; Poslane stavke; Poslato; Išsiųsta; Nosūtītie; Saadetud; 送信済み
        送信済みメール; 送信済みアイテム; 送信済メール; 已发送; 已发送邮件; 已发邮件; 已傳送
        寄件備份; 已寄出郵件; 寄件匣備份; 보낸편지함; 보낸 편지함; 보낸메일함; 보낸 메일함
        Thư đã gửi; Terkirim; ส่งแล้ว; נשלח; פריטים שנשלחו; المرسلة; البريد المرسل
        العناصر المرسلة
    """,
    "drafts": """
        Drafts; Draft; Draft Messages; Entwürfe; Entwurf; Brouillons; Brouillon; Borradores
        Borrador; Bozze; Bozza; Rascunhos; Rascunho; Esborranys; Concepten; Concept; Kladder
        Kladde; Utkast; Utkaster; Luonnokset; Luonnos; Kopie robocze; Szkice; Wersje robocze
        Robocze; Koncepty; Rozepsané; Rozpracované; Koncept; Черновики; Чернетки; Чернови
        Taslaklar; Taslak; Piszkozatok; Vázlatok; Ciorne; Schițe; Πρόχειρα; Skice; Nacrti; Osnutki
        Juodraščiai; Melnraksti; Mustandid; 下書き; 下書きメール; 草稿; 草稿箱; 草稿夹; 임시보관함
        임시 보관함; 임시보관 메일함; Thư nháp; Konsep; Draf; ร่าง; טיוטות; المسودات; مسودات
    """,
    "junk": """
        Junk; Junk E-mail; Junk Email; Junk Mail; Junk Messages; Spam; Bulk Mail; Spam Mail
        SPAM-Mail; Junkmail; Junk-E-Mail; Spamverdacht; Unerwünscht; Unerwünschte Werbung
        Spam-Verdacht; Courrier indésirable; Indésirables; Indésirable; Pourriel; Pourriels
        Correo no deseado; Correo basura; No deseado; Posta indesiderata; Indesiderata
        Lixo eletrônico; Lixo electrónico; Lixo Eletrónico; E-mail de lixo; Correu brossa
        Ongewenst; Ongewenste e-mail; Ongewenste reclame; Ongewenste mail; Wiadomości-śmieci
        Wiadomości śmieci; Niechciane; Skräppost; Uønsket e-mail; Uønsket e-post; Uønsket mail
        Søppelpost; Uønsket; Roskaposti; Nevyžádaná pošta; Nevyžiadaná pošta; Спам
        Нежелательная почта; Небажана пошта; Нежелана поща; Önemsiz E-posta; Önemsiz; Gereksiz
        İstenmeyen; Istenmeyen E-posta; Levélszemét; Mesaje nedorite; E-mail nedorit
        Ανεπιθύμητη αλληλογραφία; Ανεπιθύμητα; Neželjena pošta; Neželena pošta; Rämpspost
        Brukalas; 迷惑メール; スパム; 垃圾邮件; 垃圾郵件; 垃圾箱; 스팸; 스팸함; 스팸메일함
        정크 메일; 정크메일; Thư rác; สแปม; דואר זבל; ספאם; البريد غير المرغوب فيه
        البريد العشوائي
    """,
    "trash": """
        Trash; Deleted; Deleted Items; Deleted Messages; Deleted Mail; Bin; Trash Can; Wastebasket
        Papierkorb; Gelöscht; Gelöschte; Gelöschte Elemente; Gelöschte Objekte
        Gelöschte Nachrichten; Corbeille; Éléments supprimés; Messages supprimés; Supprimés
        Objets supprimés; Papelera; Papelera de reciclaje; Elementos eliminados
        Mensajes eliminados; Eliminados; Correo eliminado; Cestino; Posta eliminata
        Elementi eliminati; Messaggi eliminati; Lixeira; Lixo; Itens excluídos; Itens eliminados
        Mensagens excluídas; Excluídos; Paperera; Prullenbak; Prullenmand; Verwijderd
        Verwijderde items; Verwijderde berichten; Kosz; Usunięte; Elementy usunięte; Papperskorgen
        Papperskorg; Borttaget; Borttagna; Borttagna objekt; Papirkurv; Papirkurven; Slettet
        Slettet post; Slettede elementer; Slettede meddelelser; Søppel; Roskakori; Poistetut
        Poistetut viestit; Koš; Odstraněné; Odstraněná pošta; Kôš; Odstránené; Odstránená pošta
        Корзина; Удаленные; Удалённые; Удаленное; Кошик; Видалені; Кошче; Изтрити; Çöp Kutusu; Çöp
        Silinmiş Öğeler; Silinmiş Postalar; Silinen; Silinmiş; Kuka; Lomtár; Törölt elemek; Gunoi
        Coș de gunoi; Elemente șterse; Κάδος; Κάδος απορριμμάτων; Διαγραμμένα; Smeće; Otpad
        Izbrisano; Šiukšlinė; Šiukšliadėžė; Miskaste; Prügikast; ゴミ箱; ごみ箱; 削除済み
        削除済みアイテム; 削除済みメール; 已删除; 已删除邮件; 已刪除的郵件; 刪除的郵件; 废件箱
        垃圾桶; 回收站; 휴지통; 지운편지함; 지운 편지함; 삭제된 항목; Thùng rác; Sampah; ถังขยะ
        אשפה; פריטים שנמחקו; سلة المهملات; العناصر المحذوفة; المهملات
    """,
    "archive": """
        Archive; Archives; Archived; Archive Mail; Archiv; Archivierte; Archiviert; Archivés
        Archivo; Archivos; Archivados; Archivio; Arquivo; Arquivos; Arquivados; Arquivo morto
        Arxiu; Archief; Gearchiveerd; Archiwum; Zarchiwizowane; Arkiv; Arkivet; Arkiverat
        Arkiverte; Arkisto; Archív; Архив; Архів; Arşiv; Archívum; Archívált; Arhivă; Arhiv
        Arhiva; Αρχείο; Αρχειοθήκη; Archyvas; Arhīvs; Arhiiv; アーカイブ; 归档; 存档; 封存
        封存郵件; 보관함; 보관; Lưu trữ; Arsip; ארכיון; الأرشيف; أرشيف
    """,
    "all": """
        All Mail; Alle Nachrichten; Tous les messages; Todo el correo; Tutti i messaggi
        Todos os e-mails; Todo o correio; Alle e-mails; Alle berichten; Alla mail; Alla mejl
        Alle e-mail; All e-post; Kaikki viestit; Wszystkie; Wszystkie wiadomości; Všechny zprávy
        Všetky správy; Вся почта; Уся пошта; Tüm Postalar; Összes levél; Toate mesajele
        Όλα τα μηνύματα; すべてのメール; 所有邮件; 所有郵件; 전체보관함; 모든 메일
    """,
    "flagged": """
        Starred; Flagged; Markiert; Suivis; Messages suivis; Destacados; Con estrella; Speciali
        Com estrela; Met ster; Stjärnmärkt; Stjernemarkeret; Stjernemerket; Tähdelliset
        Oznaczone gwiazdką; S hvězdičkou; Помеченные; Yıldızlı; スター付き; 已加星标; 已加星號
        별표편지함
    """,
}
