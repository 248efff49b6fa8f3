-- +goose Up
alter table build add column status text generated always as (coalesce(json_extract(doc, '$.buildStatus'), '')) virtual;
alter table build add column initiator text generated always as (json_extract(doc, '$.initiator')) virtual;
alter table build add column ended integer generated always as (cast(round(coalesce(json_extract(doc, '$.endTime'), 0) * 1000) as integer)) virtual; -- 0 is not yet
drop index build_project;
create index build_project on build (account, region, project, number, id, requested, status, initiator, ended);
drop index build_requested;
create index build_requested on build (account, region, requested, id, number, status, initiator, project, ended);

alter table audit_line add column resource text generated always as (case when json_valid(doc) then json_extract(doc, '$.resource') end) virtual;
create index audit_line_account on audit_line (account, seq);
create index audit_line_resource on audit_line (account, resource, seq);
