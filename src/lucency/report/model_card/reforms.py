"""REFORMS: Kapoor, Cantrell, Peng et al., Science Advances 10:eadk3452 (2024), numbered as there.

The topics are in our own words and shorter than the originals: read those before you submit.
"""

from __future__ import annotations

from lucency.report.model_card import facts, figures
from lucency.report.model_card.question import Question, all_of

Q = Question

REFORMS: dict[str, tuple[Question, ...]] = {
    "Study goals": (
        Q("1a", "People or things the claim is about"),
        Q("1b", "Why these"),
        Q("1c", "Why machine learning"),
    ),
    "Computational reproducibility": (
        Q("2a", "Data set, with a link to this version", "begun", facts.source),
        Q("2b", "Code, with a link to this version", "begun", facts.software),
        Q("2c", "Computers and programs used", "known", facts.software),
        Q("2d", "Instructions for repeating it"),
        Q("2e", "A script that repeats it", "known", facts.command),
    ),
    "Data quality": (
        Q("3a", "Where data and labels come from, and when", "begun", facts.source),
        Q("3b", "What the data were drawn from, and how"),
        Q("3c", "Why these data suit the question"),
        Q("3d", "The outcome and how it is distributed", "begun",
          all_of(facts.outcome, facts.class_shares)),
        Q("3e", "Number of samples, and of people", "known", facts.splits),
        Q("3f", "Share of missing data by class", "begun", facts.left_out),
        Q("3g", "Whether they represent what the claim is about"),
    ),
    "Data preprocessing": (
        Q("4a", "What was left out, and why", "known", facts.left_out),
        Q("4b", "What was done about damaged samples", "known", facts.left_out),
        Q("4c", "All steps from the files to what the model sees", "known", facts.preparation),
    ),
    "Modeling": (
        Q("5a", "Every model trained: input, kind, loss", "begun",
          all_of(facts.network, facts.input_, facts.training)),
        Q("5b", "Why this kind of model", "begun", facts.network),
        Q("5c", "How it was evaluated: the parts", "known", all_of(facts.splits, facts.division)),
        Q("5d", "How the model reported was selected", "known", facts.kept),
        Q("5e", "How settings were tuned", "begun", facts.training),
        Q("5f", "Whether it is compared with fair baselines", "begun", figures.baseline),
    ),
    "Data leakage": (
        Q("6a", "That preparing and training used nothing of the test part", "begun",
          facts.division),
        Q("6b", "Copies and dependent samples between the parts", "measured",
          all_of(facts.patients, facts.leaks)),
        Q("6c", "That every input is legitimate", "measured", facts.findings),
    ),
    "Metrics and uncertainty": (
        Q("7a", "Measures, and why they suit", "measured", figures.measures),
        Q("7b", "Uncertainty, and how it was computed", "measured",
          all_of(figures.tested, figures.measures)),
        Q("7c", "Statistical tests and their assumptions"),
    ),
    "Generalizability and limitations": (
        Q("8a", "Evidence that it holds elsewhere", "measured"),
        Q("8b", "Where it is not expected to hold"),
    ),
}  # fmt: skip
