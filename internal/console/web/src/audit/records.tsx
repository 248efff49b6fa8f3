import Button from "@cloudscape-design/components/button";
import { keepPreviousData, useInfiniteQuery, type InfiniteData } from "@tanstack/react-query";
import { call, type APIError, type Output } from "../api";

/** The audit records of a resource or of all, the newest first, page by page. */
export function useRecords(resource: string) {
  const q = useInfiniteQuery<Output<"ListAuditRecords">, APIError, InfiniteData<Output<"ListAuditRecords">>, unknown[], string | undefined>({
    queryKey: ["ListAuditRecords", "all", resource],
    initialPageParam: undefined,
    getNextPageParam: (last) => last.nextToken,
    placeholderData: keepPreviousData,
    queryFn: ({ pageParam, signal }) => call("ListAuditRecords", { maxResults: 50, ...(resource && { resource }), ...(pageParam && { nextToken: pageParam }) }, signal),
  });
  return { ...q, records: (q.data?.pages ?? []).flatMap((p) => p.records ?? []) };
}

/** Below the records: a button for those before them, if there are any. */
export function Older({ of: q }: { of: ReturnType<typeof useRecords> }) {
  if (!q.hasNextPage) return null;
  return (
    <div className="center">
      <Button loading={q.isFetchingNextPage} onClick={() => void q.fetchNextPage()}>
        Show older records
      </Button>
    </div>
  );
}
