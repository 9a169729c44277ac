"""Faults of studies for mutations.py: what is seen, kept, refused and counted."""

from mutations import Mutation

_STATISTICS = "tests/study/test_statistics.py"
_ASSIGN = "tests/study/test_assign.py"
_APP = "tests/study/test_app.py"
_STORE = "tests/study/test_store.py"
_FILES = "tests/study/test_new_and_report.py"

MUTATIONS = (
    Mutation(
        "repeats count as votes", "study/analysis/answers.py",
        'if answer.kind == "pair" and answer.question == question:',
        'if answer.kind in ("pair", "repeat") and answer.question == question:',
        f"{_FILES} -k counts_what_was_said",
    ),
    Mutation(
        "a tie is a vote for the second", "study/analysis/answers.py",
        '"tie": 0.5', '"tie": 0.0', f"{_STATISTICS} -k first_named",
    ),
    Mutation(
        "votes that came late end a study", "study/stopping.py",
        "if not each.late and each.rater not in left_out", "if each.rater not in left_out",
        f"{_STATISTICS} -k late_votes",
    ),
    Mutation(
        "the rule does not wait for enough raters", "study/stopping.py",
        "min(interval.num_raters, interval.num_prompts) >= plan.stopping.min_raters",
        "True", f"{_STATISTICS} -k rule_waits",
    ),
    Mutation(
        "both ends of the rule have the whole error rate", "study/stopping.py",
        "plan.stopping.final_level", "0.99 * plan.stopping.final_level",
        f"{_STATISTICS} -k error_rate",
    ),
    Mutation(
        "few clusters do not widen an interval", "study/analysis/intervals.py",
        "factor = float(t.ppf((1 + level) / 2, min(num_prompts, num_raters) - 1))",
        "factor = float(norm.ppf((1 + level) / 2))", f"{_STATISTICS} -k unanimous",
    ),
    Mutation(
        "a sequence is as narrow as an interval", "study/analysis/intervals.py",
        "factor = math.sqrt((r + 1) / r * math.log((r + 1) / alpha**2))",
        "factor = float(norm.ppf(1 - alpha / 2))", f"{_STATISTICS} -k sequence",
    ),
    Mutation(
        "one question of a catch trial is enough", "study/analysis/raters.py",
        "passed.get(each.trial, True) and right", "passed.get(each.trial, False) or right",
        f"{_STATISTICS} -k catch",
    ),
    Mutation(
        "a repeat is alike if the side is", "study/analysis/raters.py",
        "first = {each.trial: each.choice for", "first = {each.trial: each.answer for",
        f"{_STATISTICS} -k rule",
    ),
    Mutation(
        "practice counts for the rule", "study/analysis/raters.py",
        'if answer.kind != "practice" and not answer.late:', "if not answer.late:",
        f"{_STATISTICS} -k catch",
    ),
    Mutation(
        "repeats keep their sides", "study/assign.py",
        'not trials[k].swapped, "repeat"', 'trials[k].swapped, "repeat"', _ASSIGN,
    ),
    Mutation(
        "the intact clip is always left", "study/assign.py",
        "turned = set(rng.sample(checks, half))", "turned = set()", _ASSIGN,
    ),
    Mutation(
        "films are drawn without looking who was seen", "study/assign.py",
        "key=lambda film: (seen[film], rng.random())", "key=lambda film: rng.random()", _ASSIGN,
    ),
    Mutation(
        "an old link still opens", "study/links.py",
        "link.study == study and fresh", "link.study == study", "tests/study/test_links.py",
    ),
    Mutation(
        "a second answer takes the place of the first", "study/store.py",
        "INSERT OR IGNORE INTO votes", "INSERT OR REPLACE INTO votes", _STORE,
    ),
    Mutation(
        "a commit does not wait for the disk", "study/store.py",
        "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL", _STORE,
    ),
    Mutation(
        "votes after the end are in time", "study/store.py",
        "name = 'state' AND value = 'finished'))\",", "name = 'state' AND value = 'nothing'))\",",
        _STORE,
    ),
    Mutation(
        "any film is shown to any rater", "study/server/app.py",
        "for trial in plan.raters[link.rater][: link.trials]}",
        "for trials in plan.raters for trial in trials}", f"{_APP} -k others",
    ),
    Mutation(
        "a link goes as far as the plan", "study/server/app.py",
        "if given.trial >= min(link.trials, len(plan.raters[link.rater])):",
        "if given.trial >= len(plan.raters[link.rater]):", f"{_APP} -k beyond",
    ),
    Mutation(
        "an open link joins an ended study", "study/server/app.py",
        'if store.state != "open":', "if False:", f"{_APP} -k paus",
    ),
    Mutation(
        "made-up links escape the limit of requests", "study/server/guards.py",
        "self.by_address.take(address) and self.by_link.take(key)", "self.by_link.take(key)",
        f"{_APP} -k made_up",
    ),
    Mutation(
        "a slow body is waited for", "study/server/guards.py",
        "asyncio.wait_for(self._read(receive), self.seconds)",
        "asyncio.wait_for(self._read(receive), 100 * self.seconds)", f"{_APP} -k does_not_come",
    ),
    Mutation(
        "the signature of a file is not looked at", "study/serverless.py",
        "if not hmac.compare_digest(signature.encode(), signed(key, text).encode()):", "if False:",
        f"{_FILES} -k files",
    ),
    Mutation(
        "text can end the script of a page", "study/serverless.py",
        'json.dumps(data).replace("<", "\\\\u003c")', "json.dumps(data)", f"{_FILES} -k script",
    ),
    Mutation(
        "a page gives up a vote that could not be sent", "study/page/outbox.js",
        "if (!answer.done && !answer.refused) {", "if (false) {", "tests/study/test_page.py -k gap",
    ),
)  # fmt: skip
