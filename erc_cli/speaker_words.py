"""Words that tell names from other things before a colon or in brackets (English, mostly).

`ORDINARY`: what sentences, signs and credits put before a colon. `ROLE`: people without a name.
`SOUND`: beginnings of words that describe sounds. `MANNER`: first words of how something is said.
`NAMES_IN_S`: names and groups that end as verbs do.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ORDINARY = _words(
    """
    note notes nb ps warning caution attention danger alert update breaking urgent important reminder
    tip hint fyi todo edit correction spoiler spoilers disclaimer example examples eg ie re fw fwd cc
    subject to from date time place location address tel telephone fax email e-mail mail web website www
    http https ftp url link source sources title author credits credit subtitles subtitle captions
    caption translation translated transcript transcribed sync synced corrected encoded lyrics chapter
    part episode season scene act section page figure table volume verse step phase stage level round
    rule rules lesson item number no nr option plan point reason problem question questions answer
    answers fact facts result results conclusion summary moral truth theory case status total price cost
    day week month year today tonight tomorrow yesterday monday tuesday wednesday thursday friday
    saturday sunday january february march october november december morning afternoon evening night
    one two three four five six seven eight nine ten first second third fourth fifth last next final
    finally firstly secondly thirdly once then now here there this that these those it its i you he she
    we they my your his her our their who what when where why how which if so but and or nor yet because
    since although though unless while until after before also plus besides meanwhile otherwise instead
    however therefore thus hence well okay ok yes yeah yep nope right wrong true false good bad great
    fine sure maybe perhaps please thanks thank sorry hey hi hello bye goodbye dear look listen see
    remember imagine think consider guess know say says said tell ask asked answer read write wait stop
    go come let lets take get got make do does did is are was were be been am has have had can could would
    should must might surprise seriously honestly basically actually anyway anyhow apparently
    clearly obviously frankly bottom top main best worst only just even every each any some
    another other same such more most less least simple simply mind keep repeat again call called
    like as in on at of for with without by about into over under up down out off not nothing something
    everything anything key idea score news headline headlines quote unquote
    definition meaning message password username login name names age height weight color colour size
    """
)
ROLE = re.compile(
    r"(?:(?:young|old|older|little|male|female|another) )?"
    r"(?:speaker|spk|spkr|person|participant|interviewer|interviewee|man|woman|boy|girl|child|kid|guy|lady"
    r"|narrator|reporter|announcer|host|guest|caller|moderator|presenter|anchor|operator|guard|doctor|nurse"
    r"|teacher|student|waiter|waitress|officer|cop|soldier|mother|father|mom|mum|dad|voice|both|all|everyone"
    r"|men|women|boys|girls|children|kids)(?:[ _-]?#?\d{1,3})?",
    re.IGNORECASE,
)
SOUND = re.compile(
    r"(?:laugh|chuckl|giggl|snicker|cackl|guffaw|sigh|gasp|groan|moan|grunt|cough|sneez|sniff|snif|snort|snor"
    r"|sob|cry|cries|weep|whimper|wail|scream|shriek|squeal|shout|yell|whoop|holler|whisper|murmur|mutter|mumbl"
    r"|stammer|stutter|clap|applau|cheer|boo$|boos|music|♪|song|theme|sing(?:s|ing)?$|humm|hums|whistl|door|phone|bell|ring"
    r"|chim|knock|bang|crash|thud|thump|beep|buzz|click|clatter|clank|clink|bark|meow|growl|roar|howl|chirp|yawn"
    r"|pant|breath|exhal|inhal|gulp|swallow|chew|slurp|burp|belch|hiccup|kiss|smack|chatter|indistinct|inaudib"
    r"|unintell|crosstalk|overlap|silen|pause|noise|sound|static|explo|gun(?:s|shot|fire)|gun$|shot|siren|horn|honk|engine|tire|tyre"
    r"|footstep|wind$|rain|thunder|water|splash|radio|tv$|crowd|audience|foreign|language|speak|talk|continu"
    r"|clear|throat|scoff|winc|yelp|caw|squawk|tsk|tuts|playing|plays|stops|start|slam|open|clos|creak|squeak|rustl|rattl|rumbl|hiss"
    r"|sizzl|crackl|drum|guitar|piano|instrumental|upbeat|dramatic|suspens|ominous|soft|quiet|loud|beat|blank)",
    re.IGNORECASE,
)
MANNER = _words(
    """
    in on off over from at to through by with via into out offscreen off-screen onscreen vo os oc
    v.o v.o. o.s o.s. o.c o.c. v/o o/s contd cont'd cont’d sic beep bleep censored music ad
    """
)
PARTICLE = _words("de da di du del der den van von la le los bin ibn al el and y e & of the zu")
HONORIFIC = _words(
    "mr mrs ms miss dr doctor prof professor detective officer nurse st sir lord lady king queen captain "
    "agent aunt uncle"
)
NAMES_IN_S = _words(
    """
    adams agnes andrews bates brooks burns charles collins daniels davies edwards evans frances giles
    hans hawkins hayes hicks higgins holmes hughes hutchins jacques james jenkins johannes jones jules
    lars lourdes marcos mathews matthews mercedes miles myers myles nichols owens parsons perkins peters
    phillips reynolds richards roberts rodgers rogers sanders simmons simons stephens stevens watkins
    waters watts wells williams woods yates guards girls boys kids parents students twins cops soldiers
    doctors nurses reporters friends others
    """
)
