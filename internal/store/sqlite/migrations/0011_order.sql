-- +goose Up
create table delivery_lane (               -- what has been looked at and still waits, by what is built in its order
	hook text not null,
	lane text not null,
	id   integer not null references delivery (id) on delete cascade,
	primary key (hook, lane, id)
) without rowid;
create index delivery_lane_id on delivery_lane (id);
alter table delivery add column behind integer not null default 0; -- the delivery to wait for, 0 is none
create index delivery_behind on delivery (behind) where state = 0 and behind > 0;
drop index delivery_due;
create index delivery_due on delivery (hook, next, id) where state = 0 and behind = 0;

alter table commit_status add column host text not null default ''; -- of the source's location

alter table webhook add column poll_problem text not null default ''; -- of the last poll
alter table webhook add column poll_failing integer not null default 0; -- since when polls fail
