-- +goose Up
alter table project add column badge text not null default ''; -- what its badge's address has in place of a name
update project set badge = substr(url, instr(url, 'uuid=') + 5)
	from (select account as a, region as r, name as n, json_extract(doc, '$.badge.badgeRequestUrl') as url from project) as had
	where account = a and region = r and name = n and instr(url, 'uuid=') > 0;
create unique index project_badge on project (badge) where badge <> '';

alter table build add column ref text not null default '';     -- the full name of what was built, once it is known
create index build_ref on build (account, region, project, ref, number) where ref <> '';
