// The worker that predicts: it loads the classifier, and turns pixels into predictions.

import { Classifier } from "./classifier.js";
import { handleCalls } from "./worker_client.js";

let classifier = null;

handleCalls(
  async ({ home, pixels }) => {
    classifier ??= await Classifier.load(new URL(home));
    const { about, check } = classifier;
    return pixels ? classifier.predict(pixels) : { about, check };
  },
  (error) => error.message,
);
