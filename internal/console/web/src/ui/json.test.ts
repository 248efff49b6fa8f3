import { expect, it } from "vitest";
import { problems } from "./json";

const cases: { in: string; want: [number, string] | undefined }[] = [
  { in: '{"a": [1, true, "x"]}\n', want: undefined },
  { in: "", want: [1, "It ends too early"] },
  { in: '{\n "a": 1', want: [2, "It ends too early"] },
  { in: '{\n "a": tru', want: [2, "It ends too early"] },
  { in: '{\n "a": "x', want: [2, "It ends too early"] },
  { in: "[]", want: [1, "It is to be an object, in { and }"] },
  { in: "null", want: [1, "It is to be an object, in { and }"] },
  { in: '{\n  "Version": oops\n}', want: [2, "Unexpected token 'o'"] },
  { in: '{\n  "a": 1\n  "b": 2\n}', want: [3, "Expected ',' or '}' after property value"] },
  { in: '{\n  "a": 1,\n}\n', want: [3, "Expected double-quoted property name"] },
  { in: '{}\n{}', want: [2, "Unexpected non-whitespace character after JSON"] },
];
for (const c of cases) it(JSON.stringify(c.in), () => expect(problems(c.in).map((p) => [p.line, p.message])).toEqual(c.want ? [c.want] : []));
