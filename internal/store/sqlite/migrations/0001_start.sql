-- +goose Up
create table account (
	id      text primary key,
	created integer not null            -- times are milliseconds since 1970
) without rowid;

create table access_key (
	id       text primary key,
	account  text not null references account (id),
	username text not null,
	sealed   blob not null,
	created  integer not null
) without rowid;

create table source_credential (
	account     text not null,
	region      text not null,
	server_type text not null,
	auth_type   text not null,
	arn         text not null,
	resource    text not null,
	sealed      blob not null,
	generation  integer not null,
	created     integer not null,
	modified    integer not null,
	health      text not null,             -- JSON
	primary key (account, region, server_type)
) without rowid;

create table project (
	account  text not null,
	region   text not null,
	name     text not null,
	created  integer not null,
	modified integer not null,
	doc      text not null,                -- the contract's Project
	primary key (account, region, name)
);
create index project_created on project (account, region, created, name);
create index project_modified on project (account, region, modified, name);

create table build_number (              -- outlives the project
	account text not null,
	region  text not null,
	project text not null,
	last    integer not null,
	primary key (account, region, project)
) without rowid;

create table build (
	id          text primary key,        -- project:uuid
	account     text not null,
	region      text not null,
	project     text not null,
	number      integer not null,
	state       integer not null,        -- 0 queued, 1 running, 2 complete
	requested   integer not null,
	queue_until integer not null,
	stop        integer not null default 0,
	holder      text not null default '',
	attempt     integer not null default 0,
	lease_until integer not null default 0,
	doc         text not null            -- the contract's Build
);
-- The listings read their index alone: the documents are large.
create index build_project on build (account, region, project, number, id, requested);
create index build_requested on build (account, region, requested, id, number);
create index build_queue on build (requested, id) where state = 0;
create index build_running on build (holder) where state = 1;
create index build_active on build (account, region, project) where state < 2;

create table queue_depth (               -- counts builds in state 0
	account text primary key,
	builds  integer not null
) without rowid;

create table idempotency_token (
	account text not null,
	region  text not null,
	token   text not null,
	digest  text not null,
	build   text not null,
	expires integer not null,
	primary key (account, region, token)
) without rowid;
create index idempotency_token_expires on idempotency_token (expires);

create table log_group (
	account text not null,
	region  text not null,
	name    text not null,
	created integer not null,
	primary key (account, region, name)
) without rowid;

create table log_stream (
	account   text not null,
	region    text not null,
	log_group text not null,
	name      text not null,
	build     text not null,
	created   integer not null,
	primary key (account, region, log_group, name)
) without rowid;
create index log_stream_created on log_stream (account, region, log_group, created, name);

create table commit_status (             -- an outbox: a row is gone when it was sent
	id          integer primary key autoincrement,
	account     text not null,
	region      text not null,
	project     text not null,
	build       text not null,
	source      text not null,           -- JSON, the contract's ProjectSource
	lane        text not null,           -- one status at a time for each commit and context
	sha         text not null,
	state       text not null,
	context     text not null,
	description text not null,
	target_url  text not null,
	created     integer not null,
	next        integer not null,
	attempts    integer not null default 0,
	problem     text not null default ''
);
create index commit_status_lane on commit_status (lane, id);
create index commit_status_next on commit_status (next);

create table audit (
	id        integer primary key autoincrement,
	at        integer not null,
	account   text not null,
	region    text not null,
	principal text not null,
	action    text not null,
	resource  text not null,
	detail    text not null
);

create table check_value (               -- tells a wrong root key at start
	name  text primary key,
	value blob not null
) without rowid;
