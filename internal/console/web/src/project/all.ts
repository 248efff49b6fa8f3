import { useQuery } from "@tanstack/react-query";
import { askAgain, call, type APIError } from "../api";
import type { Project } from "../api.gen";

/** All projects of the account and region, in the order of their names. A page of names and their documents are two requests for each hundred. */
export function useAllProjects({ skip, poll }: { skip?: boolean; poll?: number } = {}) {
  return useQuery<Project[], APIError>({
    queryKey: ["ListProjects", "all"],
    enabled: !skip,
    refetchInterval: (q) => askAgain(q.state.error, poll ?? false),
    queryFn: async ({ signal }) => {
      const all: Project[] = [];
      let nextToken: string | undefined;
      do {
        const page = await call("ListProjects", nextToken ? { nextToken } : {}, signal);
        if (page.projects?.length) all.push(...((await call("BatchGetProjects", { names: page.projects }, signal)).projects ?? []));
        nextToken = page.nextToken;
      } while (nextToken);
      return all;
    },
  });
}
