-- +goose Up
alter table source_credential add column next_check integer not null default 0; -- 0 is never
create index source_credential_next_check on source_credential (next_check) where next_check > 0;

create table credential_use (              -- the last one of each
	account text not null,
	region  text not null,
	arn     text not null,                 -- of a source credential or a secret
	used_at integer not null,
	purpose text not null,
	build   text not null,
	host    text not null,
	primary key (account, region, arn)
) without rowid;
