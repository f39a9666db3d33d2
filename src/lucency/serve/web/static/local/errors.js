// Why an image cannot be used, in words for the person who chose it.

/** A file that cannot be decoded, with the reason; `code` is that of the HTTP API. */
export class ImageError extends Error {
  constructor(message) {
    super(message);
    this.name = "ImageError";
    this.code = "not_an_image";
  }
}

export const ENDS_EARLY =
  "the file ends early: it was cut off, or copied or downloaded in part; get it again";

/** Return the error of a file whose header is valid and whose pixels are not. */
export function damaged(what) {
  return new ImageError(
    `its pixels cannot be decoded (${what}): damaged, or of a rare kind; ` +
      "get it again, or save it as PNG",
  );
}
