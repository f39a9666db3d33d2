"""CLAIM, 2024 update: Tejani, Klontzas, Gatti et al., Radiology: AI 6:e240300 (2024), by section.

The topics are shortened in our own words. Read the originals before you submit.
"""

from __future__ import annotations

from lucency.report.model_card import facts, figures
from lucency.report.model_card.question import Question, all_of, any_of

Q = Question

CLAIM: dict[str, tuple[Question, ...]] = {
    "Title and abstract": (
        Q("title", "AI method named in title or abstract"),
        Q("abstract", "Structured summary"),
    ),
    "Introduction": (
        Q("background", "Background and intended use of the system"),
        Q("aims", "Aims and hypotheses"),
    ),
    "Methods": (
        Q("design", "Retrospective or prospective"),
        Q("goal", "Goal of the study"),
        Q("data sources", "Sources of the data", "partial", facts.source),
        Q("eligibility", "Inclusion and exclusion criteria", "partial", facts.excluded),
        Q("preprocessing", "Preprocessing of the images", "known", facts.preparation),
        Q("subsets", "Selection of subsets of the data", "known", facts.excluded),
        Q("privacy", "De-identification"),
        Q("missing data", "Handling of missing data", "known", facts.excluded),
        Q("acquisition", "Image acquisition"),
        Q("reference standard", "Definition of the reference standard", "partial", facts.outcome),
        Q("reference standard", "Reasons for this reference standard"),
        Q("reference standard", "Annotators and their qualifications"),
        Q("reference standard", "Annotation of the test set"),
        Q("reference standard", "Variability between annotators"),
        Q("partitions", "Assignment of data to splits", "known",
           all_of(facts.partition, facts.splits)),
        Q("partitions", "Level at which the splits are disjoint", "known",
           any_of(facts.patients, facts.leaks)),
        Q("test data", "Sample size of the test set", "partial", facts.test_split),
        Q("model", "Model: input, output and layers", "known",
           all_of(facts.network, facts.input_, facts.output)),
        Q("model", "Software", "known", facts.software),
        Q("model", "Initialisation of the weights", "partial", facts.network),
        Q("training", "Training: augmentation, settings, number of models", "known",
           facts.training),
        Q("training", "Selection of the final model", "known", facts.selection),
        Q("training", "Ensembles, if any"),
        Q("evaluation", "Metrics of performance", "measured", figures.measures),
        Q("evaluation", "Uncertainty of the metrics", "measured", figures.measures),
        Q("evaluation", "Robustness and sensitivity", "measured", figures.robustness),
        Q("evaluation", "Explainability of the predictions", "measured", figures.maps),
        Q("evaluation", "Evaluation on internal data", "measured", figures.tested),
        Q("evaluation", "Evaluation on external data", "measured"),
        Q("registration", "Registration of a clinical trial"),
    ),
    "Results": (
        Q("data", "Flow of participants or images", "known", all_of(facts.excluded, facts.splits)),
        Q("data", "Characteristics of the participants in each split", "partial", facts.splits),
        Q("performance", "Performance on each split", "measured", figures.all_splits),
        Q("performance", "Diagnostic accuracy and its precision", "measured",
           all_of(figures.tested, figures.baseline)),
        Q("performance", "Analysis of misclassified images", "measured", figures.mistakes),
    ),
    "Discussion": (
        Q("limitations", "Limitations", "partial", any_of(facts.warnings, facts.findings)),
        Q("implications", "Implications for practice"),
    ),
    "Other": (
        Q("protocol", "Access to the full protocol"),
        Q("availability", "Availability of software, model and data", "partial",
           any_of(facts.weights, facts.software)),
        Q("funding", "Funding and conflicts of interest"),
    ),
}  # fmt: skip
