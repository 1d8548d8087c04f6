# ruff: noqa: RUF001 - letters of other alphabets are what they look like
"""A text in an encoding of old days is read as it was written, or refused: never read wrongly."""

from itertools import combinations

import pytest

from shared.domain.errors import DocumentRefused
from shared.formats.charset import decode

WESTERN = ["cp1252", "latin-1", "iso8859-15"]
CENTRAL = ["cp1250", "iso8859-2"]
BALTIC = ["cp1257", "iso8859-13"]
CYRILLIC = ["cp1251", "iso8859-5"]

TEXTS = {
    "English": (WESTERN, [
        "Send the résumé to the café manager.",
        "The naïve approach fails; see the Müller paper for details about the façade.",
        "It costs £5 and is © 2026 of the company; 20 °C ± 1 is the limit.",
        "Zoë and Renée have finished the work, as Señor Núñez said.",
    ]),
    "German": (WESTERN, [
        "Frau Müller",
        "Die Pumpe muß vor der Prüfung abgeschaltet werden.",
        "Größere Änderungen übernimmt der Prüfer nur nach Rücksprache mit den äußeren Ämtern.",
        "Öffnungszeiten: täglich außer samstags; Schlüssel gibt es beim Pförtner.",
    ]),
    "French": (WESTERN, [
        "Réservé aux élèves",
        "La pompe doit être arrêtée avant l'entretien; vérifiez que la vanne est fermée.",
        "Où sont passées les clés ? Le maître a trouvé la boîte près du chêne.",
        "Ça coûte très cher, hélas, mais les élèves déjà inscrits ont été prévenus.",
    ]),
    "Spanish": (WESTERN, [
        "¿Dónde está?",
        "El año pasado se amplió la garantía. Según el manual, la contraseña deberá cambiarse.",
        "¡Atención! No abra la válvula mientras la máquina esté en marcha.",
        "Los niños pequeños no podrán entrar sin la compañía de un señor.",
    ]),
    "Portuguese": (WESTERN, [
        "Não fumar",
        "Não é possível alterar a senha sem autorização.",
        "A configuração será aplicada após a reinicialização do serviço.",
        "As instruções estão disponíveis também em português, na página três.",
    ]),
    "Italian": (WESTERN, [
        "La città è più bella",
        "Non è possibile avviare la pompa finché la valvola è chiusa.",
        "Il caffè costerà di più, perché la qualità è salita.",
        "Verrà inviata una email lunedì; la priorità è già alta.",
    ]),
    "Dutch": (WESTERN, [
        "één vóór allen",
        "De pomp moet vóór het onderhoud worden uitgeschakeld.",
        "Controleer of de klep geïnstalleerd is en België één code heeft.",
        "De coördinatie van de zeeën is een idee van de efficiënte reünie.",
    ]),
    "Swedish": (WESTERN, [
        "Stäng dörren",
        "Pumpen måste stängas av före underhåll; kontrollera att ventilen är öppen.",
        "Räksmörgås är en rätt som äts på båten och i trädgården.",
        "Överföringen till Åre sker på lördag, inte på måndag.",
    ]),
    "Danish": (WESTERN, [
        "Åbn døren",
        "Pumpen skal slukkes før vedligeholdelse, og ventilen skal være åben.",
        "På søndag går færgen til Ærø fra den nordlige kaj.",
        "Brug ikke flere kræfter end nødvendigt når låget åbnes.",
    ]),
    "Norwegian": (WESTERN, [
        "Lukk døra først",
        "Pumpen må slås av før vedlikehold, og ventilen skal være åpen.",
        "På lørdag går båten til øya fra brygga ved sjøen.",
        "Språket er nynorsk, og målet er å nå så mange som mulig.",
    ]),
    "Finnish": (WESTERN, [
        "Hyvää päivää",
        "Pumppu on sammutettava ennen huoltoa, ja venttiilin on oltava auki.",
        "Käyttäjä ei voi vaihtaa salasanaa ilman ylläpitäjän lupaa.",
        "Tämä työ on tehtävä ennen yötä, sillä sää on kylmä.",
    ]),
    "Catalan": (WESTERN, [
        "Això és català",
        "La bomba s'ha d'aturar abans del manteniment, i la vàlvula ha de ser oberta.",
        "Què és això? És la configuració del servei, amb més opcions.",
        "Els països també són petits, però no gaire.",
    ]),
    "Icelandic": (WESTERN, [
        "Það er gott að sjá þig í dag",
        "Dælan verður að vera stöðvuð fyrir viðhald og það er ekki hægt að opna lokann.",
        "Ég er að læra íslensku og það er erfitt en skemmtilegt.",
        "Við fórum til Reykjavíkur með börnin og sáum höfnina.",
    ]),
    "Polish": (CENTRAL, [
        "Zażółć gęślą jaźń",
        "Pompę należy wyłączyć przed konserwacją; sprawdź, czy zawór jest otwarty.",
        "Użytkownik nie może zmienić hasła bez zgody administratora.",
        "Wszystkie usługi są dostępne również w języku polskim, od poniedziałku do piątku.",
    ]),
    "Czech": (CENTRAL, [
        "Příliš žluťoučký kůň úpěl ďábelské ódy",
        "Před údržbou je nutné čerpadlo vypnout a zkontrolovat, zda je ventil otevřený.",
        "Uživatel nemůže změnit heslo bez souhlasu správce.",
        "Děkujeme za objednávku; zboží bude odesláno v pondělí.",
    ]),
    "Slovak": (CENTRAL, [
        "Čerpadlo je vypnuté",
        "Pred údržbou je potrebné čerpadlo vypnúť a skontrolovať, či je ventil otvorený.",
        "Používateľ nemôže zmeniť heslo bez súhlasu správcu.",
        "Ďakujeme za objednávku; tovar bude odoslaný v pondelok, ale nie skôr.",
    ]),
    "Hungarian": (CENTRAL, [
        "Árvíztűrő tükörfúrógép",
        "A szivattyút karbantartás előtt ki kell kapcsolni, és a szelep nyitva van.",
        "A felhasználó nem módosíthatja a jelszót a rendszergazda engedélye nélkül.",
        "Ez a könyv nagyon jó, és minden nap olvasom, mert érdekes.",
    ]),
    "Romanian": (CENTRAL, [
        "Bună dimineaţa şi bine aţi venit",
        "Pompa trebuie oprită înainte de întreţinere; verificaţi că robinetul este deschis.",
        "Utilizatorul nu poate schimba parola fără acordul administratorului.",
        "Toate serviciile sunt disponibile şi în limba română, de luni până vineri.",
    ]),
    "Croatian": (CENTRAL, [
        "Dobro došli u Hrvatsku, čuvajte se",
        "Pumpa se mora isključiti prije održavanja i provjerite je li ventil otvoren.",
        "Korisnik ne može promijeniti lozinku bez odobrenja administratora, što je šteta.",
        "Sljedeći vlak za Žagreb polazi u četvrtak iz Đakova.",
    ]),
    "Slovenian": (CENTRAL, [
        "Črpalko je treba izklopiti",
        "Pred vzdrževanjem je treba črpalko izklopiti in preveriti, ali je ventil odprt.",
        "Uporabnik ne more spremeniti gesla brez soglasja skrbnika, ki je na dopustu že teden.",
        "V četrtek bo še več dežja, zato ostanite doma.",
    ]),
    "Turkish": (["cp1254", "iso8859-9"], [
        "Pompa kullanım kılavuzu",
        "Pompayı çalıştırmadan önce vananın açık olduğunu ve hava bulunmadığını kontrol edin.",
        "Kullanıcı yöneticinin izni olmadan şifreyi değiştiremez.",
        "İstanbul ve Ankara için yeni bir tren seferi başlıyor; bilet ücreti çok düşük.",
    ]),
    "Lithuanian": (BALTIC, [
        "Ačiū už pagalbą",
        "Prieš priežiūrą siurblį reikia išjungti ir patikrinti, ar vožtuvas yra atidarytas.",
        "Naudotojas negali pakeisti slaptažodžio be administratoriaus leidimo.",
        "Šiandien yra gražus oras, todėl eisime į mišką su vaikais.",
    ]),
    "Latvian": (BALTIC, [
        "Paldies par palīdzību",
        "Pirms apkopes sūknis ir jāizslēdz un jāpārbauda, vai vārsts ir atvērts.",
        "Lietotājs nevar mainīt paroli bez administratora atļaujas.",
        "Šodien ir skaista diena, un mēs ejam uz mežu ar bērniem.",
    ]),
    "Estonian": ([*BALTIC, "cp1252"], [
        "Tere tulemast, õpilased",
        "Pump tuleb enne hooldust välja lülitada ja kontrollida, kas ventiil on avatud.",
        "Kasutaja ei saa parooli muuta ilma administraatori loata, see on nõue.",
        "Täna on ilus ilm ja me läheme lastega metsa, aga õhtul oleme kodus.",
    ]),
    "Russian": ([*CYRILLIC, "koi8-r", "cp866", "mac-cyrillic"], [
        "Привет, как дела?",
        "Перед обслуживанием насос необходимо выключить и проверить, что клапан открыт.",
        "Сервер хранит сообщения и отдаёт их потребителям, когда они готовы их обработать.",
        "Пользователь не может изменить пароль без согласия администратора.",
        "РУКОВОДСТВО ПОЛЬЗОВАТЕЛЯ",
        "насос для воды",
    ]),
    "Ukrainian": (["cp1251", "koi8-u"], [
        "Привіт, як справи?",
        "Перед обслуговуванням насос необхідно вимкнути та перевірити, що клапан відкритий.",
        "Користувач не може змінити пароль без згоди адміністратора, і це є правилом.",
        "Її сім'я живе у Києві, але ґанок у них новий.",
    ]),
    "Bulgarian": (CYRILLIC, [
        "Добър ден, как сте?",
        "Преди поддръжка помпата трябва да се изключи и да се провери дали клапанът е отворен.",
        "Потребителят не може да промени паролата без съгласието на администратора.",
        "Всички услуги са достъпни и на български език от понеделник до петък.",
    ]),
    "Serbian": (CYRILLIC, [
        "Добар дан, како сте?",
        "Пре одржавања пумпа мора да се искључи и треба проверити да ли је вентил отворен.",
        "Корисник не може да промени лозинку без сагласности администратора.",
        "Њени ђаци су љути, јер је час био досадан у џепу.",
    ]),
    "Belarusian": (["cp1251"], [
        "Добры дзень, як справы?",
        "Перад абслугоўваннем помпу трэба выключыць і праверыць, што клапан адкрыты.",
        "Карыстальнік не можа змяніць пароль без згоды адміністратара.",
        "Усе паслугі даступныя і на беларускай мове, ад панядзелка да пятніцы.",
    ]),
    "Greek": (["cp1253", "iso8859-7"], [
        "Καλημέρα σας",
        "Η αντλία πρέπει να απενεργοποιηθεί πριν από τη συντήρηση και η βαλβίδα να είναι ανοιχτή.",
        "Ο χρήστης δεν μπορεί να αλλάξει τον κωδικό χωρίς την άδεια του διαχειριστή.",
        "Όλες οι υπηρεσίες είναι διαθέσιμες και στα ελληνικά, από Δευτέρα έως Παρασκευή.",
    ]),
    "Hebrew": (["cp1255"], [
        "שלום לכל העולם",
        "יש לכבות את המשאבה לפני התחזוקה ולבדוק אם השסתום פתוח.",
        "המשתמש לא יכול לשנות את הסיסמה ללא אישור של המנהל.",
        "כל השירותים זמינים גם בעברית, אבל רק עם הזמנה.",
    ]),
    "Arabic": (["cp1256"], [
        "مرحبا بكم في المدينة",
        "يجب إيقاف المضخة قبل الصيانة والتأكد من أن الصمام مفتوح.",
        "لا يمكن للمستخدم تغيير كلمة المرور من دون موافقة المدير.",
        "كل الخدمات متاحة في هذا الموقع من الإثنين إلى الجمعة.",
    ]),
    "Japanese": (["cp932", "euc_jp", "iso2022_jp"], [
        "日本語のマニュアル",
        "ポンプを点検する前に、必ず電源を切ってください。",
        "利用者は管理者の許可なしにパスワードを変更できません。",
        "このサービスは月曜日から金曜日まで利用できます。",
    ]),
    "Chinese": (["gb18030", "gbk"], [
        "你好，这是说明书",
        "维护之前必须关闭水泵，并检查阀门是否已经打开。",
        "没有管理员的同意，用户不能更改自己的密码。",
        "这个服务从星期一到星期五都可以使用，请先登录系统。",
    ]),
    "Chinese of Taiwan": (["big5"], [
        "你好，這是說明書",
        "維護之前必須關閉水泵，並檢查閥門是否已經打開。",
        "沒有管理員的同意，使用者不能更改自己的密碼。",
        "這個服務從星期一到星期五都可以使用，請先登入系統。",
    ]),
    "Korean": (["cp949", "euc_kr"], [
        "안녕하세요 여러분",
        "정비하기 전에 펌프를 끄고 밸브가 열려 있는지 확인하십시오.",
        "사용자는 관리자의 동의 없이 비밀번호를 변경할 수 없습니다.",
        "이 서비스는 월요일부터 금요일까지 이용할 수 있습니다.",
    ]),
    "Thai": (["cp874"], ["ต้องปิดปั๊มก่อนการบำรุงรักษา และตรวจสอบว่าวาล์วเปิดอยู่", "สวัสดีครับ"]),
    "German of DOS": (["cp850"], ["Die Prüfung der größeren Änderungen übernimmt Frau Öztürk."]),
    "French of the old Mac": (["mac-roman"], ["La pompe doit être arrêtée; vérifiez ça à midi."]),
    "Polish of DOS": (["cp852"], ["Pompę należy wyłączyć przed konserwacją; sprawdź zawór."]),
}  # fmt: skip
UNREAD = {"Thai", "German of DOS", "French of the old Mac", "Polish of DOS"}
"""What is refused, as long as nobody needs it."""
CASES = [(name, encoding) for name, (encodings, _) in TEXTS.items() for encoding in encodings]


def read(data):
    """The text, or None where it is refused."""
    try:
        return decode(data).text
    except DocumentRefused as refusal:
        return None if refusal.code == "wrong_encoding" else str(refusal)


def texts_of(name):
    """Each sentence, each two of them, all, all in capitals or small letters, and many."""
    sentences = TEXTS[name][1]
    whole = "\n".join(sentences)
    two = (" ".join(each) for each in combinations(sentences, 2))
    return [*sentences, *two, whole, whole.upper(), whole.lower(), f"{whole}\n\n" * 20]


@pytest.mark.parametrize(("name", "encoding"), CASES)
def test_no_text_is_read_wrongly(name, encoding):
    for text in texts_of(name):
        data = text.encode(encoding, "ignore")

        assert read(data) in (data.decode(encoding), None)


@pytest.mark.parametrize(("name", "encoding"), [one for one in CASES if one[0] not in UNREAD])
def test_a_text_of_some_sentences_is_read(name, encoding):
    text = "\n".join(TEXTS[name][1])

    assert read(text.encode(encoding)) == text


def test_a_list_of_words_lets_no_other_alphabet_in_by_a_word_that_it_repeats():
    parts = "אביזרי מוט מייצב חברת מתאים הרכבים לציין סוג הרכב בהזמנה אחורי מושחר פנסים החל משנת"
    text = "\n".join(f"סט {part} {part[::-1]}" for part in parts.split())

    assert read(text.encode("cp1255")) in (text, None)  # in Windows-1251 each line begins with "си"
