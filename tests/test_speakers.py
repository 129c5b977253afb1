"""Who speaks: names in the text, several turns in one cue, and what is no name."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path

import pytest

from erc_cli.transcripts import Cue, build_transcript, plain_text
from erc_cli.types import Transcript

MELD = Path(os.environ.get("ERC_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "meld"


def spoken(*texts: str, known: str | None = None) -> list[tuple[str | None, str]]:
    """Speaker and text of cues that are read together as one file."""
    cues = [Cue(i, i + 0.9, text, None, i + 1) for i, text in enumerate(texts)]
    if known:
        cues.append(Cue(len(texts), len(texts) + 0.9, "Yes.", known))
    found = build_transcript(cues, "srt").utterances
    return [(said.speaker, said.text) for said in found][: len(found) - bool(known)]


def codes(transcript: Transcript) -> list[tuple[str, int | None]]:
    return [(notice.code, notice.line) for notice in transcript.warnings]


@pytest.mark.parametrize(
    ("text", "speaker", "words"),
    [
        ("MONICA: There's nothing to tell!", "MONICA", "There's nothing to tell!"),
        ("Monica: There's nothing to tell!", "Monica", "There's nothing to tell!"),
        ("[MONICA] There's nothing.", "MONICA", "There's nothing."),
        ("(Monica) There's nothing.", "Monica", "There's nothing."),
        ("- MONICA: There's nothing.", "MONICA", "There's nothing."),
        ("– Monica: There's nothing.", "Monica", "There's nothing."),
        (">> MONICA: There's nothing.", "MONICA", "There's nothing."),
        ("<v Monica>There's nothing.", "Monica", "There's nothing."),
        ("<v.loud.first Monica>There's nothing.</v>", "Monica", "There's nothing."),
        ("MONICA:There's nothing.", "MONICA", "There's nothing."),
        ("MONICA :\nThere's nothing.", "MONICA", "There's nothing."),
        ("MONICA (V.O.): There's nothing.", "MONICA", "There's nothing."),
        ("[Monica, laughing] There's nothing.", "Monica", "There's nothing."),
        ("[MRS. BING] There's nothing.", "MRS. BING", "There's nothing."),
        ("Dr. Green: There's nothing.", "Dr. Green", "There's nothing."),
        ("MAN 1: There's nothing.", "MAN 1", "There's nothing."),
        ("SPEAKER_00: There's nothing.", "SPEAKER_00", "There's nothing."),
        ("speaker 2: There's nothing.", "speaker 2", "There's nothing."),
        ("[woman on TV] There's nothing.", "woman", "There's nothing."),
        ("JEAN-LUC O'BRIEN: There's nothing.", "JEAN-LUC O'BRIEN", "There's nothing."),
        ("McGEE: There's nothing.", "McGEE", "There's nothing."),
        ("АННА: Привет.", "АННА", "Привет."),
        ("田中：こんにちは", "田中", "こんにちは"),
        ("（田中）こんにちは", "田中", "こんにちは"),
    ],
)
def test_names_are_found(text: str, speaker: str, words: str) -> None:
    assert spoken(text) == [(speaker, words)]


@pytest.mark.parametrize(
    "text",
    [
        "Note: this is a note.",
        "NOTE: this is a note.",
        "12:30 is the time.",
        "It is 12:30.",
        "At 12:30: lunch.",
        "http://example.com is the place.",
        "https://example.com",
        "One thing: go home.",
        "Listen: I know.",
        "Look: a bird.",
        "I have one question: why?",
        "The truth is this: no.",
        "Seriously: stop.",
        "Kindly: stop.",
        "Okay, Monica: Right foot red.",
        "They call me: Joe.",
        "Hello :)",
        "See you :D",
        "C:\\temp is a folder.",
        "STEP 2: turn left.",
        "Chapter 3: the storm.",
        "LONDON: 1945",
        "WARNING: KEEP OUT OF HERE",
        "DANGER ZONE: KEEP OUT",
        "-5 degrees outside.",
        "Well (he said) no.",
        "I said to\nMonica: go home.",
        "[sighs] Well.",
        "(DOOR SLAMS) Who is it?",
        "[LAUGHS] Stop it.",
        "[PHONE RINGING] Hello?",
        "(WHISPERING) Over here.",
        "[IN FRENCH] Hello.",
        "(WINCES) That hurts.",
        "[Monica chuckles] Right.",
    ],
)
def test_other_colons_and_brackets_are_no_names(text: str) -> None:
    assert spoken(text) == [(None, " ".join(text.split()))]


def test_a_name_needs_more_evidence_in_a_long_file_without_labels() -> None:
    prose = [f"We talked about the weather, part {i}." for i in range(60)]
    assert spoken(*prose, "Pancakes: my favourite.")[-1] == (None, "Pancakes: my favourite.")
    labelled = [*prose, "Joe: Hi.", "Joe: Yes.", "Joe: No."]
    assert [speaker for speaker, _ in spoken(*labelled)[-3:]] == ["Joe"] * 3
    assert spoken(*prose, "JOE: Hi.")[-1] == ("JOE", "Hi.")


def test_a_word_that_is_also_written_small_is_no_name() -> None:
    assert spoken("I love pancakes.", "Pancakes: my favourite.")[1][0] is None


def test_a_known_speaker_is_a_name_elsewhere() -> None:
    assert spoken("Listen, I know.", "(king) Hello.", known="King")[1] == ("King", "Hello.")


def test_small_letters_need_a_file_full_of_labels() -> None:
    chat = ["joe: hi", "amy: hello", "joe: how are you", "amy: fine"]
    assert [speaker for speaker, _ in spoken(*chat)] == ["joe", "amy", "joe", "amy"]
    assert spoken("joe: hi")[0][0] is None


def test_one_letter_must_recur() -> None:
    assert [s for s, _ in spoken("A: Hi.", "B: Hello.", "A: Well?", "B: Fine.")] == ["A", "B", "A", "B"]
    assert spoken("X: the unknown.") == [(None, "X: the unknown.")]


def test_capitals_mean_nothing_in_a_file_of_capitals() -> None:
    shouted = [f"THIS IS LINE {i} OF THE NEWS." for i in range(30)]
    assert spoken(*shouted, "PANCAKES FOR ALL: WE CAME.")[-1][0] is None
    named = spoken(*shouted, "JOE: HI THERE.", "JOE: YES SIR.", "JOE: NO SIR.")
    assert [speaker for speaker, _ in named[-3:]] == ["JOE"] * 3


def test_spellings_of_one_name_are_one_speaker() -> None:
    assert {s for s, _ in spoken("MONICA: Hi.", "Monica: Yes.", "<v Monica>No.")} == {"Monica"}


def test_a_cue_with_a_speaker_of_its_own_keeps_its_text() -> None:
    found = build_transcript([Cue(0, 1, "- Joey: Hi.", "Monica")], "ass").utterances
    assert [(said.speaker, said.text) for said in found] == [("Monica", "- Joey: Hi.")]


@pytest.mark.parametrize(
    "text", ["- Hi.\n- Hello.", "- Hi. - Hello.", "-Hi.\n-Hello.", "Hi.\n- Hello.", "&gt;&gt; Hi.\n>> Hello."]
)
def test_two_speakers_in_one_cue(text: str) -> None:
    found = build_transcript([Cue(1, 2.1, text, None, 7)], "srt").utterances
    assert [(said.text, said.speaker) for said in found] == [("Hi.", None), ("Hello.", None)]
    # Three and six characters, each with the space after it.
    assert [(said.start, said.end) for said in found] == [(1, 1.4), (1.4, 2.1)]


def test_two_names_in_one_cue() -> None:
    assert spoken("MONICA: Hi,\nJoey.\nJOEY: Hello.") == [("MONICA", "Hi, Joey."), ("JOEY", "Hello.")]
    assert spoken("<v Joey>Hi. <v Monica>Hello.") == [("Joey", "Hi."), ("Monica", "Hello.")]
    assert spoken("- Joey: Hi.\n- Fine.") == [("Joey", "Hi."), (None, "Fine.")]


@pytest.mark.parametrize(
    "text", ["I was thinking -\n- and so were you.", "A well-\nknown man - my friend. - Yes"]
)
def test_dashes_inside_a_sentence_do_not_split(text: str) -> None:
    assert len(spoken(text)) == 1


def test_turns_of_a_long_cue_stay_in_time_order() -> None:
    cues = [Cue(0, 10, "- Hello there, my friend.\n- Hello to you too."), Cue(2, 3, "Hm.")]
    starts = [said.start for said in build_transcript(cues, "srt").utterances]
    assert starts == sorted(starts)
    assert len(starts) == 3


@pytest.mark.parametrize(
    "text",
    ["[laughs]", "(door slams)", "♪", "♪ ♪", "*sighs*", "[MUSIC PLAYING]\n♪♪", "- [sighs]", "JOE: [coughs]"],
)
def test_sounds_alone_are_no_utterance(text: str) -> None:
    found = build_transcript([Cue(0, 1, text, None, 3)], "srt")
    assert found.utterances == ()
    assert codes(found) == [("sound_only", 3)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("♪ Smelly cat ♪", "Smelly cat"),
        ("(I can't believe it.)", "(I can't believe it.)"),
        ("- [sighs]\n- Stop it.", "Stop it."),
        ("- Hi.\n- (PUA GRUNTING)", "Hi."),
    ],
)
def test_words_beside_sounds_are_kept(text: str, words: str) -> None:
    found = build_transcript([Cue(0, 1, text)], "srt").utterances
    assert [(said.text, said.start, said.end) for said in found] == [(words, 0, 1)]


def test_markup_is_cleaned() -> None:
    raw = r"{\an8}{\pos(1,2)}<font color='red'>A</font> <i>b</i>\Nc\h&amp; d<br/>e &lt;f&gt; 1 < 2 <3"
    assert plain_text(raw) == "A b\nc & d\ne <f> 1 < 2 <3"


@pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/data/meld")
def test_on_meld_no_sentence_has_a_false_speaker_and_names_are_found() -> None:
    dialogues: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with (MELD / "dev_sent_emo.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            dialogues[row["Dialogue_ID"]].append((row["Speaker"], row["Utterance"]))
    wrong = missed = total = 0
    for said in dialogues.values():
        wrong += sum(speaker is not None for speaker, _ in spoken(*(text for _, text in said)))
        named = spoken(*(f"{speaker}: {text}" for speaker, text in said))
        total += len(said)
        missed += sum(found != true for (found, _), (true, _) in zip(named, said, strict=True))
    assert total > 1000
    assert wrong == 0
    assert missed / total < 0.01
