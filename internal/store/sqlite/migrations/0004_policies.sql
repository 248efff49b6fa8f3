-- +goose Up
alter table access_key add column policy text not null default '';      -- '' is all rights
alter table access_key add column expires integer not null default 0;   -- 0 is never
