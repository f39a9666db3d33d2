"""CLAIM, 2024 update: Tejani, Klontzas, Gatti et al., Radiology: AI 6:e240300 (2024), by section.

The topics are in our own words and shorter than the originals: read those before you submit.
"""

from __future__ import annotations

from lucency.report.model_card import facts, figures
from lucency.report.model_card.question import Question, all_of, any_of

Q = Question

CLAIM: dict[str, tuple[Question, ...]] = {
    "Title and abstract": (
        Q("title", "Title or abstract says that AI is studied, and which kind"),
        Q("abstract", "Structured summary"),
    ),
    "Introduction": (
        Q("background", "Background, and what the system is for"),
        Q("aims", "Aims and hypotheses"),
    ),
    "Methods": (
        Q("design", "Looking back or planned ahead"),
        Q("goal", "Goal of the study"),
        Q("data sources", "Where the data come from", "begun", facts.source),
        Q("eligibility", "Who was taken in and who not", "begun", facts.left_out),
        Q("preprocessing", "How images were prepared", "known", facts.preparation),
        Q("subsets", "How parts of the data were selected", "known", facts.left_out),
        Q("privacy", "How names were removed"),
        Q("missing data", "What was done about missing data", "known", facts.left_out),
        Q("acquisition", "How images were taken"),
        Q("reference standard", "What counts as the truth", "begun", facts.outcome),
        Q("reference standard", "Why this truth was chosen"),
        Q("reference standard", "Who labelled, and their training"),
        Q("reference standard", "How the test part was labelled"),
        Q("reference standard", "How much labellers differed"),
        Q("partitions", "How data were assigned to parts", "known",
           all_of(facts.division, facts.splits)),
        Q("partitions", "On which level the parts are apart", "known",
           any_of(facts.patients, facts.leaks)),
        Q("test data", "How the size of the test part was arrived at", "begun", facts.test_part),
        Q("model", "Description of the network, its input and output", "known",
           all_of(facts.network, facts.input_, facts.output)),
        Q("model", "Software", "known", facts.software),
        Q("model", "How weights were set before training", "begun", facts.network),
        Q("training", "Training: augmentation, settings, number of models", "known",
           facts.training),
        Q("training", "How the final model was chosen", "known", facts.kept),
        Q("training", "Ensembles, if any"),
        Q("evaluation", "Measures of performance", "measured", figures.measures),
        Q("evaluation", "Uncertainty of the figures", "measured", figures.measures),
        Q("evaluation", "Robustness and sensitivity", "measured", figures.robustness),
        Q("evaluation", "Explaining what the answers rest on", "measured", figures.maps),
        Q("evaluation", "Evaluation on data from the same source", "measured", figures.tested),
        Q("evaluation", "Evaluation on data from elsewhere", "measured"),
        Q("registration", "Registration of a clinical trial"),
    ),
    "Results": (
        Q("data", "Flow of people or images", "known", all_of(facts.left_out, facts.splits)),
        Q("data", "Who the people are in each part", "begun", facts.splits),
        Q("performance", "Performance on each part", "measured", figures.all_parts),
        Q("performance", "Diagnostic accuracy with its precision", "measured",
           all_of(figures.tested, figures.baseline)),
        Q("performance", "Analysis of wrong answers", "measured", figures.failures),
    ),
    "Discussion": (
        Q("limitations", "Limitations", "begun", any_of(facts.warnings, facts.findings)),
        Q("implications", "What it means for practice"),
    ),
    "Other": (
        Q("protocol", "Where the whole protocol is"),
        Q("availability", "Where software, model and data are", "begun",
           any_of(facts.weights, facts.software)),
        Q("funding", "Funding and conflicts of interest"),
    ),
}  # fmt: skip
