-- +goose Up
create table session (                     -- of the console
	hash    text primary key,              -- of what the cookie holds
	key_id  text not null,
	region  text not null,
	created integer not null,
	used    integer not null,
	expires integer not null
) without rowid;
create index session_key on session (key_id);
create index session_used on session (used);
create index session_expires on session (expires);
