-- +goose Up
create table webhook (
	account        text not null,
	region         text not null,
	project        text not null,
	address        text not null,          -- the unguessable part of the payload's address
	source         text not null,
	host           text not null,
	owner          text not null,
	kind           text not null,
	hook_id        text not null,
	sealed         blob not null,
	version        integer not null,       -- of sealed
	created        integer not null,
	poll_every     integer not null default 0, -- milliseconds, 0 is never
	poll_next      integer not null default 0,
	marks          text not null default '',
	refused        integer not null default 0,
	refused_reason text not null default '',
	refused_at     integer not null default 0,
	primary key (account, region, project)
) without rowid;
create unique index webhook_address on webhook (address);
create index webhook_poll_next on webhook (poll_next) where poll_every > 0;

create table delivery (                    -- the inbox
	id       integer primary key autoincrement,
	account  text not null,
	region   text not null,
	project  text not null,
	hook     text not null,                -- the webhook's address
	origin   text not null,
	received integer not null,
	event    text not null,
	provider text not null,                -- its id of the delivery
	headers  text not null,                -- JSON
	state    integer not null default 0,   -- 0 waiting, 1 done, 2 failed
	next     integer not null,
	attempts integer not null default 0,
	problem  text not null default '',
	results  text not null default '[]'    -- JSON
);
create index delivery_hook on delivery (hook, id);
create index delivery_due on delivery (hook, next, id) where state = 0;
create index delivery_ended on delivery (received) where state > 0;

create table delivery_body (               -- apart: lists do not read past it, and what is decided does not write it again
	id   integer primary key references delivery (id) on delete cascade,
	body blob not null                     -- gzip
);

create table delivery_digest (             -- outlives its delivery: what was signed once is good once
	hook   text not null,
	digest blob not null,
	primary key (hook, digest)
) without rowid;

create table webhook_gone (                -- whose deliveries and digests are to be removed
	address text primary key
) without rowid;

create table approval (                    -- pull requests whose build waits for one
	account    text not null,
	region     text not null,
	project    text not null,
	repository text not null,
	number     integer not null,
	title      text not null,
	author     text not null,
	sha        text not null,
	since      integer not null,
	event      text not null,              -- JSON
	primary key (account, region, project, repository, number)
) without rowid;

create table hook_removal (                -- an outbox: hooks to remove at their providers
	id       integer primary key autoincrement,
	account  text not null,
	region   text not null,
	project  text not null,
	source   text not null,                -- JSON, the contract's ProjectSource
	primary_source text not null,          -- likewise
	host     text not null,
	owner    text not null,
	kind     text not null,
	hook_id  text not null,
	address  text not null,
	created  integer not null,
	next     integer not null,
	attempts integer not null default 0,
	problem  text not null default ''
);
create index hook_removal_next on hook_removal (next);

alter table build add column trigger text not null default '';  -- JSON, of builds that a webhook started
