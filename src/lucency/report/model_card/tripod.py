"""TRIPOD+AI: Collins, Moons, Dhiman et al., BMJ 385:e078378 (2024), numbered as there.

The topics are in our own words and shorter than the originals: read those before you submit.
"""

from __future__ import annotations

from lucency.report.model_card import facts, figures
from lucency.report.model_card.question import Question, all_of, any_of

Q = Question

TRIPOD: dict[str, tuple[Question, ...]] = {
    "Title and abstract": (
        Q("1", "Title names the kind of study, the people and the outcome"),
        Q("2", "Structured abstract"),
    ),
    "Introduction": (
        Q("3a", "Medical context, and models that exist"),
        Q("3b", "For whom, where in care, used by whom"),
        Q("3c", "Known inequalities between groups of people"),
        Q("4", "Aims: developing, evaluating or both"),
    ),
    "Methods": (
        Q("5a", "Where the data come from, and whether they represent the people meant", "begun",
           facts.source),
        Q("5b", "Dates of the data"),
        Q("6a", "Setting, number and place of centres"),
        Q("6b", "Who was eligible", "begun", facts.left_out),
        Q("6c", "Treatments received"),
        Q("7", "How data were prepared and checked", "known",
           all_of(facts.preparation, facts.left_out)),
        Q("8a", "What is predicted and how the truth was established", "begun", facts.outcome),
        Q("8b", "Who established the truth, and their training"),
        Q("8c", "Whether they were blind to other information"),
        Q("9a", "Why these predictors", "begun", facts.input_),
        Q("9b", "Definition of the predictors", "known", facts.input_),
        Q("9c", "Who assessed predictors that need judgement", "known", facts.unjudged),
        Q("10", "How the sample size was arrived at", "begun", facts.splits),
        Q("11", "What was done about missing data", "known", facts.left_out),
        Q("12a", "How data were divided for developing and evaluating", "known",
           all_of(facts.splits, facts.division)),
        Q("12b", "How predictors were transformed", "known", facts.preparation),
        Q("12c", "Kind of model, steps of building it, tuning, internal validation", "known",
           all_of(facts.network, facts.training, facts.kept)),
        Q("12d", "Differences between hospitals or countries: how they were examined", "measured",
           figures.clusters),
        Q("12e", "Measures of performance", "measured", figures.measures),
        Q("12f", "Updating of the model after evaluation"),
        Q("12g", "How predictions were computed for the evaluation", "known",
           any_of(facts.output, facts.parity)),
        Q("13", "What was done about unequal class sizes", "known", facts.weighting),
        Q("14", "Fairness: what was done, and why", "begun", figures.subgroups),
        Q("15", "What the model returns, and how thresholds were chosen", "known", facts.output),
        Q("16", "How training and evaluation data differ", "measured",
           any_of(facts.class_shares, facts.findings)),
        Q("17", "Ethical approval and consent"),
    ),
    "Open science and the public": (
        Q("18a", "Funding"),
        Q("18b", "Conflicts of interest"),
        Q("18c", "Protocol"),
        Q("18d", "Registration"),
        Q("18e", "Whether the data can be had", "begun", facts.source),
        Q("18f", "Whether the code can be had", "begun", facts.software),
        Q("19", "Involvement of patients and the public"),
    ),
    "Results": (
        Q("20a", "Flow of people through the study", "known",
           all_of(facts.left_out, facts.splits)),
        Q("20b", "Who the people are", "begun", figures.subgroups),
        Q("20c", "Development and evaluation data compared", "measured", facts.class_shares),
        Q("21", "People and outcomes in each analysis", "known", facts.splits),
        Q("22", "The whole model, so that others can use it", "known", facts.weights),
        Q("23a", "Performance with intervals", "measured", figures.tested),
        Q("23a", "The same for groups of people", "measured", figures.subgroups),
        Q("23b", "Performance by hospital or country", "measured", figures.clusters),
        Q("24", "Results of updating the model"),
    ),
    "Discussion": (
        Q("25", "Interpretation, fairness and other studies included"),
        Q("26", "Limitations", "begun", any_of(facts.warnings, facts.findings)),
        Q("27a", "What happens with poor or missing input", "measured", facts.abstaining),
        Q("27b", "What users must do and know"),
        Q("27c", "Next steps towards use"),
    ),
}  # fmt: skip
