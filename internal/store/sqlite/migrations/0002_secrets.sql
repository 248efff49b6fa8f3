-- +goose Up
create table secret (
	account text not null,
	region  text not null,
	name    text not null,
	arn     text not null,
	doc     text not null,                 -- JSON, without values
	primary key (account, region, name)
) without rowid;
create unique index secret_arn on secret (account, region, arn);

create table secret_version (
	account text not null,
	region  text not null,
	secret  text not null,                 -- ARN
	id      text not null,
	stages  text not null,                 -- JSON
	binary  integer not null,
	sealed  blob not null,
	created integer not null,
	primary key (account, region, secret, id)
) without rowid;

create table parameter (
	account text not null,
	region  text not null,
	name    text not null,
	version integer not null,
	arn     text not null,
	newest  integer not null,              -- 1 for the newest version
	doc     text not null,                 -- JSON, without the value
	sealed  blob not null,
	primary key (account, region, name, version)
) without rowid;
create index parameter_newest on parameter (account, region, name) where newest = 1;
