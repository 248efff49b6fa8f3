-- +goose Up
alter table build add column dequeued integer generated always as (cast(round(coalesce(json_extract(doc, '$.phases[1].endTime'), 0) * 1000) as integer)) virtual; -- the end of QUEUED, the second phase of all builds; 0 is not yet
drop index build_project;
create index build_project on build (account, region, project, number, id, requested, status, initiator, ended, dequeued);
drop index build_requested;
create index build_requested on build (account, region, requested, id, number, status, initiator, project, ended, dequeued);
