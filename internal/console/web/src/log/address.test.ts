import { expect, it } from "vitest";
import { logOf, projectOf, uuidOf } from "./address";

const id = "0b57ac1e-1111-4222-8333-444455556666";

const cases: { in: string; want: { group: string; stream: string; project?: string; uuid?: string } | undefined }[] = [
  { in: `#logEvent:group=/aws/codebuild/app;stream=${id}`, want: { group: "/aws/codebuild/app", stream: id, project: "app", uuid: id } },
  { in: `#logEventViewer:group=/aws/codebuild/app;stream=${id};start=2026-11-27`, want: { group: "/aws/codebuild/app", stream: id, project: "app", uuid: id } },
  { in: `#logEvent:group=/shop/builds;stream=a%20%3B%25%23b/${id}`, want: { group: "/shop/builds", stream: `a ;%#b/${id}`, uuid: id } },
  { in: `#logsV2:log-groups/log-group/$252Faws$252Fcodebuild$252Fmy-app_1/log-events/${id}`, want: { group: "/aws/codebuild/my-app_1", stream: id, project: "my-app_1", uuid: id } },
  {
    in: `#logsV2:log-groups/log-group/$252Fshop$252Fbuilds/log-events/a$2520$25C3$25A9$2524$253F$252F${id}$3Fstart$3D0$26filterPattern$3Dx`,
    want: { group: "/shop/builds", stream: `a é$?/${id}`, uuid: id },
  },
  { in: `#logEvent:group=/aws/codebuild/app;stream=x${id}`, want: { group: "/aws/codebuild/app", stream: `x${id}`, project: "app" } },
  { in: `#logEvent:group=/aws/codebuild/a/b;stream=x`, want: { group: "/aws/codebuild/a/b", stream: "x" } },
  { in: "#logEvent:group=null;stream=null", want: undefined },
  { in: "#logsV2:log-groups/log-group/null/log-events/null", want: undefined },
  { in: "#logsV2:log-groups/log-group/$252Faws$252Fcodebuild$252Fapp", want: undefined },
  { in: "#logsV2:log-groups", want: undefined },
  { in: "#logEvent:group=%zz;stream=a", want: undefined },
  { in: "#logsV2:log-groups/log-group/$2/log-events/a", want: undefined },
  { in: "#logEvent:group=;stream=a", want: undefined },
  { in: "#L5", want: undefined },
  { in: "", want: undefined },
];
for (const c of cases)
  it(c.in || "nothing", () => {
    const log = logOf(c.in);
    expect(log && { ...log, project: projectOf(log), uuid: uuidOf(log) }).toEqual(c.want);
  });
