"""REFORMS: Kapoor, Cantrell, Peng et al., Science Advances 10:eadk3452 (2024), numbered as there.

The topics are shortened in our own words. Read the originals before you submit.
"""

from __future__ import annotations

from lucency.report.model_card import facts, figures
from lucency.report.model_card.question import Question, all_of

Q = Question

REFORMS: dict[str, tuple[Question, ...]] = {
    "Study goals": (
        Q("1a", "Population or distribution of the claim"),
        Q("1b", "Motivation for this population"),
        Q("1c", "Motivation for machine learning"),
    ),
    "Computational reproducibility": (
        Q("2a", "Data set, with a link to this version", "partial", facts.source),
        Q("2b", "Code, with a link to this version", "partial", facts.software),
        Q("2c", "Computing infrastructure", "known", facts.software),
        Q("2d", "Instructions to reproduce the results"),
        Q("2e", "Script to reproduce the results", "known", facts.command),
    ),
    "Data quality": (
        Q("3a", "Sources of data and labels, with dates", "partial", facts.source),
        Q("3b", "Sampling frame"),
        Q("3c", "Justification of the data set"),
        Q("3d", "Outcome and its distribution", "partial",
          all_of(facts.outcome, facts.class_shares)),
        Q("3e", "Sample size, and number of participants", "known", facts.splits),
        Q("3f", "Missing data by class", "partial", facts.excluded),
        Q("3g", "Representativeness of the data"),
    ),
    "Data preprocessing": (
        Q("4a", "Excluded data, with reasons", "known", facts.excluded),
        Q("4b", "Handling of corrupted samples", "known", facts.excluded),
        Q("4c", "Transformations from the files to the input", "known", facts.preparation),
    ),
    "Modeling": (
        Q("5a", "Models trained: input, type, loss", "partial",
          all_of(facts.network, facts.input_, facts.training)),
        Q("5b", "Choice of the model type", "partial", facts.network),
        Q("5c", "Evaluation method: the splits", "known", all_of(facts.splits, facts.partition)),
        Q("5d", "Selection of the reported model", "known", facts.selection),
        Q("5e", "Hyperparameter tuning", "partial", facts.training),
        Q("5f", "Comparison with baselines", "partial", figures.baseline),
    ),
    "Data leakage": (
        Q("6a", "Separation of preparation and training from the test set", "partial",
          facts.partition),
        Q("6b", "Duplicates and dependencies between the splits", "measured",
          all_of(facts.patients, facts.leaks)),
        Q("6c", "Legitimacy of the inputs", "measured", facts.findings),
    ),
    "Metrics and uncertainty": (
        Q("7a", "Metrics and their choice", "measured", figures.measures),
        Q("7b", "Uncertainty of the metrics and its computation", "measured",
          all_of(figures.tested, figures.measures)),
        Q("7c", "Statistical tests and their assumptions"),
    ),
    "Generalizability and limitations": (
        Q("8a", "Evidence of external validity", "measured"),
        Q("8b", "Contexts in which the findings may not hold"),
    ),
}  # fmt: skip
