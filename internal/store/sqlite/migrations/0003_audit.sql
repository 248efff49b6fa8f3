-- +goose Up
drop table audit;

create table audit_line (
	seq     integer primary key,
	at      integer not null,
	account text not null,
	doc     text not null,                 -- JSON
	hash    blob not null                  -- of this line and all before it
);
