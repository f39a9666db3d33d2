// What goes wrong with an image, in words for whoever chose it.

/** A file that is not decoded, with the reason; `code` is that of the HTTP interface. */
export class ImageError extends Error {
  constructor(message) {
    super(message);
    this.name = "ImageError";
    this.code = "unreadable_image";
  }
}

export const ENDS_EARLY =
  "the file ends early: it was cut off, or copied or downloaded in part; get it again";

/** Returns the error of a file whose header is sound and whose pixels are not. */
export function damaged(what) {
  return new ImageError(
    `its pixels cannot be decoded (${what}): damaged, or of a rare kind; ` +
      "get it again, or save it as PNG",
  );
}
