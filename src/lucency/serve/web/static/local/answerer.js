// The worker that answers: it loads the classifier, and says what it makes of pixels.

import { Classifier } from "./classifier.js";
import { answering } from "./remote.js";

let classifier = null;

answering(
  async ({ home, pixels }) => {
    classifier ??= await Classifier.load(new URL(home));
    const { about, check } = classifier;
    return pixels ? classifier.answer(pixels) : { about, check };
  },
  (error) => error.message,
);
