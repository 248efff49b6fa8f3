import { expect, test } from "vitest";
import { away } from "./time";

test("what was is never to come", () => {
  expect(away(4, false)).toBe("less than a minute ago");
  expect(away(-90, false)).toBe("1 minute ago");
  expect(away(4, true)).toBe("in less than a minute");
  expect(away(90, true)).toBe("in 1 minute");
  expect(away(-4, true)).toBe("less than a minute ago");
});
