"""Text that is not UTF-8: the code page is told from the letters, Western files stay what they are, and a guess is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.data import inspect, prepare, rows
from engine.data.encodings import encoding_of
from engine.errors import DataError

ELSEWHERE = {
    "Chinese": ("gbk", "问题,答案\n如何更改密码？,打开设置并选择密码选项，然后输入新密码。\n"),
    "Chinese of Taiwan": ("big5", "問題,答案\n如何更改密碼？,打開設定並選擇密碼選項，然後輸入新密碼。\n"),
    "Japanese": ("cp932", "質問,回答\nパスワードを変更するには？,設定を開いてパスワードを選択してください。\n"),
    "Korean": ("cp949", "질문,답변\n비밀번호를 어떻게 변경하나요?,설정을 열고 비밀번호를 선택하세요.\n"),
    "Russian": ("cp1251", "Вопрос,Ответ\nКак изменить пароль?,Откройте настройки и выберите «Пароль». Это займёт минуту.\n"),
    "Ukrainian": ("cp1251", "Питання,Відповідь\nЯк змінити пароль?,Відкрийте налаштування і виберіть пароль.\n"),
    "Greek": ("cp1253", "Ερώτηση,Απάντηση\nΠώς αλλάζω τον κωδικό;,Ανοίξτε τις ρυθμίσεις και επιλέξτε κωδικό.\n"),
    "Hebrew": ("cp1255", "שאלה,תשובה\nאיך משנים סיסמה?,פתחו את ההגדרות ובחרו סיסמה.\n"),
    "Arabic": ("cp1256", "سؤال,جواب\nكيف أغير كلمة المرور؟,افتح الإعدادات واختر كلمة المرور.\n"),
    "Polish": (
        "cp1250",
        "Pytanie,Odpowiedź\nJak zmienić hasło?,Otwórz ustawienia i wybierz opcję „Hasło”. Może być też później.\n",
    ),
    "Czech": ("cp1250", "otázka,odpověď\nJak změním heslo?,Otevřete nastavení a zvolte možnost. Příliš žluťoučký kůň úpěl.\n"),
    "Hungarian": ("cp1250", "kérdés,válasz\nHogyan módosíthatom a jelszót?,Őszintén: nyissa meg a beállításokat időben.\n"),
    "Turkish": ("cp1254", "soru,cevap\nŞifremi nasıl değiştiririm?,Ayarları açın ve şifre seçeneğini seçin. İyi günler.\n"),
    "Lithuanian": (
        "cp1257",
        "klausimas,atsakymas\nKaip pakeisti slaptažodį?,Atidarykite nustatymus. Ačiū už kantrybę šį mėnesį.\n",
    ),
}
WESTERN = [
    "Frage;Antwort\nWie ändere ich mein Paßwort?;Öffnen Sie die Einstellungen, es kostet 20 €.\n",
    "FRAGE;ANTWORT\nGRÖSSE?;ÜBERGRÖSSE ÄNDERN\n",
    "q;r\nOÙ EST LE CAFÉ?;À CÔTÉ DE LA FENÊTRE\nÇa va, garçon ?;Sûr, dès l’été à Noël.\n",
    "domanda;risposta\nPerché?;Perché è così. Più tardi.\n",
    "pregunta;respuesta\n¿Qué es?;ESTÁ AQUÍ, SEÑOR. ¡Sí!\n",
    "pergunta;resposta\nO que são opções?;São as opções. Não há mais.\n",
    "spurning;svar\nHvað er þetta?;Það er góð spurning, en ég veit það ekki.\n",
    "küsimus;vastus\nKus on õun?;Õun on köögis, söö ära.\n",
    "fråga;svar\nHur ändrar jag lösenordet?;Gå till inställningar på sidan.\n",
    "question,answer\nHow much?,£5\n",
    "question,answer\nroom 20 m²,½ price © 2020\n",
    "question,answer\nIt’s “really” – good…,yes\n",
]


def _file(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("times", [1, 300])
@pytest.mark.parametrize("language", ELSEWHERE)
def test_excels_csv_from_elsewhere_is_read_as_it_was_written(language: str, times: int, tmp_path: Path) -> None:
    encoding, text = ELSEWHERE[language]
    header, line = text.splitlines(keepends=True)
    seen = inspect(_file(tmp_path, "a.csv", (header + line * times).encode(encoding)))
    assert [column.name for column in seen.columns] == header.strip().split(",")
    assert seen.raw[0][1] == dict(zip(header.strip().split(","), line.strip().split(",", 1), strict=True))
    assert seen.warnings[0].endswith("If letters look wrong, save the file in Excel as “CSV UTF-8”.")


@pytest.mark.parametrize("plain", ["", "Plain line;Of plain letters\n" * 3000])
@pytest.mark.parametrize("text", WESTERN)
def test_western_files_stay_what_they_are(text: str, plain: str) -> None:
    written = (text + plain).encode("cp1252")
    encoding, note = encoding_of(written, "a.csv")
    assert written.decode(encoding) == text + plain and "Western European" in note
    assert note.endswith("If letters look wrong, save the file in Excel as “CSV UTF-8”.")


def test_one_letter_that_could_be_utf8_does_not_make_it_that() -> None:
    assert encoding_of("Größe Ã¤ Öl über Ärger für später\n".encode("cp1252"), "a.txt")[0] == "cp1252"


def test_one_broken_byte_does_not_make_it_something_else(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", '{"text": "Grüße"}\n'.encode() * 9 + b'{"text": "br\xffken"}\n')
    seen = inspect(path, "text")
    assert (seen.encoding, dict(seen.problem_counts)) == ("utf-8", {"broken characters": 1})


def test_letters_that_the_first_look_cuts_in_two(tmp_path: Path) -> None:
    for shift in range(2):
        text = "问题,答案\n" + "a" * shift + "如何更改密码,打开设置并选择密码\n" * 4000
        assert inspect(_file(tmp_path, "a.csv", text.encode("gbk"))).encoding == "gb18030"
        assert inspect(_file(tmp_path, "b.csv", text.encode())).encoding == "utf-8"


def test_every_file_of_a_folder_says_its_guess_once(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in (("a.txt", "Grüße".encode()), ("b.txt", "Straße für alle".encode("cp1252"))):
        _file(folder, name, text)
    _file(folder, "c.txt", "Größe und Übermut".encode("cp1252"))
    made = prepare(folder, "text", tmp_path / "out")
    for told in (inspect(folder).warnings, made.warnings):
        assert [warning for warning in told if "UTF-8" in warning] == [
            "b.txt, c.txt: It is not UTF-8; it was read as Western European text (Windows-1252). Check letters like é and ü. "
            "If letters look wrong, save the file as UTF-8."
        ]


@pytest.mark.parametrize(
    "content",
    [
        b"\x01\0\0\0" * 4000,
        bytes([7, 0, 200, 0, 9, 0, 31, 0]) * 900,
        bytes(range(256)) * 3 + b"\0" * 900,
        b"name\0\0\0\0\0\0\0\0value\0\0\0\0\0\0" * 50,
    ],
)
def test_a_binary_file_with_many_zeros_is_no_text(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="binary file"):
        inspect(_file(tmp_path, "a.dat", content))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_text_still(encoding: str, tmp_path: Path) -> None:
    path = _file(tmp_path, "a.csv", "Frage,Antwort\nGröße?,„Groß“ – 5 €\n".encode(encoding))
    found: list[Any] = [row for _, row in rows(path, "chat")]
    assert found == [{"prompt": "Größe?", "completion": "„Groß“ – 5 €"}]
    assert "UTF-16" in inspect(path).warnings[0]
