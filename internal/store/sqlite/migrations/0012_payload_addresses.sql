-- +goose Up
alter table project add column payload text generated always as (json_extract(doc, '$.webhook.payloadUrl')) virtual;
create index project_payload on project (payload) where payload is not null;
