"""TRIPOD+AI: Collins, Moons, Dhiman et al., BMJ 385:e078378 (2024), numbered as there.

The topics are shortened in our own words. Read the originals before you submit.
"""

from __future__ import annotations

from lucency.report.model_card import facts, figures
from lucency.report.model_card.question import Question, all_of, any_of

Q = Question

TRIPOD: dict[str, tuple[Question, ...]] = {
    "Title and abstract": (
        Q("1", "Title: type of study, population and outcome"),
        Q("2", "Structured abstract"),
    ),
    "Introduction": (
        Q("3a", "Medical context and existing models"),
        Q("3b", "Target population, place in care, users"),
        Q("3c", "Known health inequalities between groups"),
        Q("4", "Objectives: development, evaluation or both"),
    ),
    "Methods": (
        Q("5a", "Sources of the data and their representativeness", "partial",
           facts.source),
        Q("5b", "Dates of the data"),
        Q("6a", "Setting, number and location of centres"),
        Q("6b", "Eligibility criteria", "partial", facts.excluded),
        Q("6c", "Treatments received"),
        Q("7", "Data preparation and quality checks", "known",
           all_of(facts.preparation, facts.excluded)),
        Q("8a", "Outcome and how it was determined", "partial", facts.outcome),
        Q("8b", "Outcome assessors and their qualifications"),
        Q("8c", "Blinding of the outcome assessment"),
        Q("9a", "Choice of the predictors", "partial", facts.input_),
        Q("9b", "Definition of the predictors", "known", facts.input_),
        Q("9c", "Assessors of predictors that need judgement", "known", facts.no_judgement),
        Q("10", "Justification of the sample size", "partial", facts.splits),
        Q("11", "Handling of missing data", "known", facts.excluded),
        Q("12a", "Split of the data for development and evaluation", "known",
           all_of(facts.splits, facts.partition)),
        Q("12b", "Transformation of the predictors", "known", facts.preparation),
        Q("12c", "Type of model, building, tuning, internal validation", "known",
           all_of(facts.network, facts.training, facts.selection)),
        Q("12d", "Heterogeneity between hospitals or countries: methods", "measured",
           figures.clusters),
        Q("12e", "Metrics of performance", "measured", figures.measures),
        Q("12f", "Model updating after evaluation"),
        Q("12g", "Computation of the predictions for evaluation", "known",
           any_of(facts.output, facts.parity)),
        Q("13", "Handling of class imbalance", "known", facts.weighting),
        Q("14", "Fairness: approach and reasons", "partial", figures.subgroups),
        Q("15", "Model output and choice of thresholds", "known", facts.output),
        Q("16", "Differences between training and evaluation data", "measured",
           any_of(facts.class_shares, facts.findings)),
        Q("17", "Ethical approval and consent"),
    ),
    "Open science and the public": (
        Q("18a", "Funding"),
        Q("18b", "Conflicts of interest"),
        Q("18c", "Protocol"),
        Q("18d", "Registration"),
        Q("18e", "Availability of the data", "partial", facts.source),
        Q("18f", "Availability of the code", "partial", facts.software),
        Q("19", "Patient and public involvement"),
    ),
    "Results": (
        Q("20a", "Flow of participants", "known",
           all_of(facts.excluded, facts.splits)),
        Q("20b", "Characteristics of the participants", "partial", figures.subgroups),
        Q("20c", "Comparison of development and evaluation data", "measured", facts.class_shares),
        Q("21", "Participants and outcomes in each analysis", "known", facts.splits),
        Q("22", "Full model specification", "known", facts.weights),
        Q("23a", "Performance with intervals", "measured", figures.tested),
        Q("23a", "Performance in subgroups, with intervals", "measured", figures.subgroups),
        Q("23b", "Heterogeneity between hospitals or countries: results", "measured",
           figures.clusters),
        Q("24", "Results of model updating"),
    ),
    "Discussion": (
        Q("25", "Interpretation, with fairness and other studies"),
        Q("26", "Limitations", "partial", any_of(facts.warnings, facts.findings)),
        Q("27a", "Handling of poor or missing input", "measured", facts.abstention),
        Q("27b", "User interaction and required expertise"),
        Q("27c", "Next steps"),
    ),
}  # fmt: skip
