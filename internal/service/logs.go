package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/logs"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/arn"
	"github.com/corbel-build/corbel/internal/buildlog"
	"github.com/corbel-build/corbel/internal/store"
)

// Limits of one answer.
// Source: CloudWatch Logs API reference, GetLogEvents and FilterLogEvents.
const (
	maxEvents     = 10000
	maxEventBytes = 1 << 20
	maxGroups     = 50
	maxStreams    = 100 // streams that one FilterLogEvents looks at; the service names no number
)

// LogService is the part of CloudWatch Logs that reads build logs. A group is
// what the logs of a project are in, a stream is the log of one build.
type LogService struct {
	logs.Unsupported
	*Service
}

// group reads logGroupName or logGroupIdentifier, one of which is needed.
func group(p access.Principal, name, identifier *string) (string, error) {
	g := value(name)
	if id := value(identifier); id != "" {
		if g != "" {
			return "", logs.InvalidParameterException("LogGroup name and LogGroup ARN are mutually exclusive parameters.")
		}
		g = id
		if a, err := arn.Parse(id); err == nil {
			if a.Account != p.Account || a.Region != p.Region || a.Service != "logs" {
				return "", noGroup()
			}
			g = strings.TrimSuffix(strings.TrimPrefix(a.Resource, "log-group:"), ":*")
		}
	}
	if g == "" {
		return "", logs.InvalidParameterException("Must specify either logGroupName or logGroupIdentifier.")
	}
	return g, nil
}

func noGroup() error {
	return logs.ResourceNotFoundException("The specified log group does not exist.")
}
func noStream() error {
	return logs.ResourceNotFoundException("The specified log stream does not exist.")
}

// known makes sure that a group is there.
func (s *LogService) known(ctx context.Context, scope store.Scope, g string) error {
	list, err := s.Store.LogGroups(ctx, scope, g, "", 1)
	if err != nil {
		return fmt.Errorf("read log group %s: %w", g, err)
	}
	if len(list) == 0 || list[0].Name != g {
		return noGroup()
	}
	return nil
}

// logID is the id of a build's log: the UUID at the end of its id.
func logID(build string) string { return build[strings.LastIndexByte(build, ':')+1:] }

// span reads the bounds of a request, which are milliseconds.
func span(start, end *int64) buildlog.Span {
	var s buildlog.Span
	if start != nil {
		s.Start = time.UnixMilli(*start)
	}
	if end != nil {
		s.End = time.UnixMilli(*end)
	}
	return s
}

// GetLogEvents reads one build's log, from its end unless startFromHead or a
// token says otherwise. At the end of the log the forward token stays the
// same and the pages are empty: clients wait for that.
func (s *LogService) GetLogEvents(ctx context.Context, in *logs.GetLogEventsRequest) (*logs.GetLogEventsResponse, error) {
	p := access.From(ctx)
	g, err := group(p, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	stream, err := s.Store.LogStream(ctx, p.Scope, g, *in.LogStreamName)
	if absent(err) {
		if err := s.known(ctx, p.Scope, g); err != nil {
			return nil, err
		}
		return nil, noStream()
	} else if err != nil {
		return nil, fmt.Errorf("read log stream: %w", err)
	}
	limit := maxEvents
	if in.Limit != nil {
		limit = *in.Limit
	}
	forward, at := value(in.StartFromHead), buildlog.Offset(0)
	if !forward {
		at = buildlog.End
	}
	if token := value(in.NextToken); token != "" {
		kind, text, _ := strings.Cut(token, "/")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || kind != "f" && kind != "b" {
			return nil, logs.InvalidParameterException("The specified nextToken is invalid.")
		}
		forward, at = kind == "f", buildlog.Offset(n)
	}
	var page buildlog.Page
	if forward {
		page, err = s.Logs.Read(logID(stream.Build), at, span(in.StartTime, in.EndTime), limit, maxEventBytes)
	} else {
		page, err = s.Logs.ReadBack(logID(stream.Build), at, span(in.StartTime, in.EndTime), limit, maxEventBytes)
	}
	if errors.Is(err, buildlog.ErrNotFound) {
		return nil, noStream()
	} else if err != nil {
		return nil, fmt.Errorf("read log of %s: %w", stream.Build, err)
	}
	out := &logs.GetLogEventsResponse{
		Events:            make([]logs.OutputLogEvent, len(page.Events)),
		NextForwardToken:  new(fmt.Sprintf("f/%056d", page.Next)),
		NextBackwardToken: new(fmt.Sprintf("b/%056d", page.From)),
	}
	times := make([]int64, len(page.Events))
	for i := range page.Events { // the messages stay where they are: pages are large, and read by many at once
		times[i] = page.Events[i].Time.UnixMilli()
		out.Events[i] = logs.OutputLogEvent{Timestamp: &times[i], IngestionTime: &times[i], Message: &page.Events[i].Message}
	}
	return out, nil
}

// filterCursor is where FilterLogEvents goes on: in which stream and where.
type filterCursor struct {
	Stream store.LogStream
	Offset buildlog.Offset
}

// FilterLogEvents reads the logs of a group, stream after stream in the order
// of their beginning, which is also the order of time as long as builds do not
// overlap.
func (s *LogService) FilterLogEvents(ctx context.Context, in *logs.FilterLogEventsRequest) (*logs.FilterLogEventsResponse, error) {
	p := access.From(ctx)
	g, err := group(p, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	match, err := filter(value(in.FilterPattern))
	if err != nil {
		return nil, err
	}
	if in.LogStreamNames != nil && in.LogStreamNamePrefix != nil {
		return nil, logs.InvalidParameterException("logStreamNames and logStreamNamePrefix are mutually exclusive parameters.")
	}
	if err := s.known(ctx, p.Scope, g); err != nil {
		return nil, err
	}
	query := fmt.Sprintf("events %s %q %s", g, in.LogStreamNames, value(in.LogStreamNamePrefix))
	at, err := after[filterCursor](p.Scope, query, in.NextToken)
	if err != nil {
		return nil, logs.InvalidParameterException("The specified nextToken is invalid.")
	}
	limit, size := maxEvents, maxEventBytes
	if in.Limit != nil {
		limit = *in.Limit
	}
	out := &logs.FilterLogEventsResponse{Events: []logs.FilteredLogEvent{}, SearchedLogStreams: []logs.SearchedLogStream{}}
	// The stream that a page ended in comes first, then those after it.
	var from buildlog.Offset
	var queue []store.LogStream
	var last *store.LogStream
	if at != nil {
		from, last, queue = at.Offset, &at.Stream, []store.LogStream{at.Stream}
	}
	for searched := 0; ; searched++ {
		if len(queue) == 0 {
			if queue, err = s.streams(ctx, p.Scope, g, in, last); err != nil {
				return nil, err
			}
			if len(queue) == 0 {
				return out, nil
			}
		}
		current := queue[0]
		if searched == maxStreams {
			out.NextToken = nextToken(p.Scope, query, filterCursor{current, from})
			return out, nil
		}
		next, full, err := s.search(current, from, span(in.StartTime, end(in.EndTime)), match, limit, &size, out)
		if err != nil {
			return nil, err
		}
		if full {
			out.NextToken = nextToken(p.Scope, query, filterCursor{current, next})
			return out, nil
		}
		last, queue, from = &current, queue[1:], 0
	}
}

// search adds the events of one stream that match to out. full says that the
// answer is, and next where the stream goes on.
func (s *LogService) search(l store.LogStream, from buildlog.Offset, bounds buildlog.Span, match func(string) bool, limit int, size *int, out *logs.FilterLogEventsResponse) (next buildlog.Offset, full bool, err error) {
	last, err := s.Logs.ReadBack(logID(l.Build), buildlog.End, buildlog.Span{}, 1, maxEventBytes)
	if err == nil && len(last.Events) > 0 && last.Events[0].Time.Before(bounds.Start) {
		return 0, false, nil // all of it is older
	}
	for err == nil {
		var page buildlog.Page
		if page, err = s.Logs.Read(logID(l.Build), from, bounds, maxEvents, maxEventBytes); err != nil || len(page.Events) == 0 {
			break
		}
		for _, e := range page.Events {
			if !match(e.Message) {
				continue
			}
			if len(out.Events) == limit || len(out.Events) > 0 && len(e.Message) > *size {
				return e.Offset, true, nil
			}
			*size -= len(e.Message)
			ms := e.Time.UnixMilli()
			out.Events = append(out.Events, logs.FilteredLogEvent{
				LogStreamName: new(l.Name), Timestamp: &ms, IngestionTime: &ms, Message: new(e.Message), EventId: new(eventID(l, e)),
			})
		}
		from = page.Next
	}
	if err != nil && !errors.Is(err, buildlog.ErrNotFound) {
		return 0, false, fmt.Errorf("read log of %s: %w", l.Build, err)
	}
	return 0, false, nil
}

// end makes the inclusive end of FilterLogEvents exclusive.
// Source: CloudWatch Logs API reference, FilterLogEvents, endTime.
func end(ms *int64) *int64 {
	if ms == nil {
		return nil
	}
	return new(*ms + 1)
}

// eventID is unique in a group and the same in every answer: the CLI tells by
// it which events it has printed.
func eventID(l store.LogStream, e buildlog.Event) string {
	return fmt.Sprintf("%s%s%016d", strings.ReplaceAll(logID(l.Build), "-", ""), "0", e.Offset)
}

// streams lists streams of the group that come after one, oldest first.
func (s *LogService) streams(ctx context.Context, scope store.Scope, g string, in *logs.FilterLogEventsRequest, last *store.LogStream) ([]store.LogStream, error) {
	if in.LogStreamNames == nil {
		return s.Store.LogStreams(ctx, scope, store.StreamPage{Group: g, Prefix: value(in.LogStreamNamePrefix), ByTime: true, After: last, Limit: maxStreams})
	}
	names := in.LogStreamNames
	if last != nil {
		names = names[slices.Index(names, last.Name)+1:]
	}
	list := make([]store.LogStream, 0, len(names))
	for _, name := range names {
		l, err := s.Store.LogStream(ctx, scope, g, name)
		if absent(err) {
			return nil, noStream()
		} else if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

// filter reads a filter pattern: words and "quoted phrases" that all have to
// be there. Other patterns are refused rather than matched wrongly.
func filter(pattern string) (func(string) bool, error) {
	var terms []string
	rest := strings.TrimSpace(pattern)
	if strings.ContainsAny(rest, "{}[]%") || strings.HasPrefix(rest, "?") || strings.HasPrefix(rest, "-") || strings.Contains(rest, " ?") || strings.Contains(rest, " -") {
		return nil, logs.InvalidParameterException("Corbel supports filter patterns of words and \"quoted phrases\" only")
	}
	for rest != "" {
		var term string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			if term, rest, ok = strings.Cut(quoted, `"`); !ok {
				return nil, logs.InvalidParameterException("Invalid filter pattern: a quote is not closed")
			}
		} else {
			term, rest, _ = strings.Cut(rest, " ")
		}
		terms = append(terms, term)
		rest = strings.TrimSpace(rest)
	}
	return func(message string) bool {
		for _, t := range terms {
			if !strings.Contains(message, t) {
				return false
			}
		}
		return true
	}, nil
}

// DescribeLogGroups lists groups by name.
func (s *LogService) DescribeLogGroups(ctx context.Context, in *logs.DescribeLogGroupsRequest) (*logs.DescribeLogGroupsResponse, error) {
	p := access.From(ctx)
	if in.LogGroupNamePattern != nil || in.LogGroupIdentifiers != nil {
		return nil, logs.InvalidParameterException("Corbel supports logGroupNamePrefix only, not logGroupNamePattern or logGroupIdentifiers")
	}
	prefix := value(in.LogGroupNamePrefix)
	query := "groups " + prefix
	at, err := after[string](p.Scope, query, in.NextToken)
	if err != nil {
		return nil, logs.InvalidParameterException("The specified nextToken is invalid.")
	}
	limit := maxGroups
	if in.Limit != nil {
		limit = *in.Limit
	}
	list, err := s.Store.LogGroups(ctx, p.Scope, prefix, value(at), limit+1)
	if err != nil {
		return nil, fmt.Errorf("list log groups: %w", err)
	}
	out := &logs.DescribeLogGroupsResponse{LogGroups: []logs.LogGroup{}}
	if len(list) > limit {
		list = list[:limit]
		out.NextToken = nextToken(p.Scope, query, list[limit-1].Name)
	}
	for _, g := range list {
		name := logARN(p.Scope, "log-group:"+g.Name)
		out.LogGroups = append(out.LogGroups, logs.LogGroup{
			LogGroupName: new(g.Name), CreationTime: new(g.Created.UnixMilli()), MetricFilterCount: new(0),
			Arn: new(name + ":*"), LogGroupArn: new(name), StoredBytes: new(int64(0)), LogGroupClass: logs.LogGroupClassSTANDARD,
		})
	}
	return out, nil
}

// DescribeLogStreams lists the streams of a group.
func (s *LogService) DescribeLogStreams(ctx context.Context, in *logs.DescribeLogStreamsRequest) (*logs.DescribeLogStreamsResponse, error) {
	p := access.From(ctx)
	g, err := group(p, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	page := store.StreamPage{Group: g, Prefix: value(in.LogStreamNamePrefix), ByTime: in.OrderBy == logs.OrderByLastEventTime, Descending: value(in.Descending), Limit: maxGroups + 1}
	if page.ByTime && page.Prefix != "" {
		return nil, logs.InvalidParameterException("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	if in.Limit != nil {
		page.Limit = *in.Limit + 1
	}
	if err := s.known(ctx, p.Scope, g); err != nil {
		return nil, err
	}
	query := fmt.Sprintf("streams %s %s %t %t", g, page.Prefix, page.ByTime, page.Descending)
	if page.After, err = after[store.LogStream](p.Scope, query, in.NextToken); err != nil {
		return nil, logs.InvalidParameterException("The specified nextToken is invalid.")
	}
	list, err := s.Store.LogStreams(ctx, p.Scope, page)
	if err != nil {
		return nil, fmt.Errorf("list log streams: %w", err)
	}
	out := &logs.DescribeLogStreamsResponse{LogStreams: []logs.LogStream{}}
	if len(list) == page.Limit {
		list = list[:len(list)-1]
		out.NextToken = nextToken(p.Scope, query, list[len(list)-1])
	}
	for _, l := range list {
		d := logs.LogStream{LogStreamName: new(l.Name), CreationTime: new(l.Created.UnixMilli()), Arn: new(logARN(p.Scope, "log-group:"+g+":log-stream:"+l.Name)), StoredBytes: new(int64(0))}
		first, err1 := s.Logs.Read(logID(l.Build), 0, buildlog.Span{}, 1, maxEventBytes)
		end, err2 := s.Logs.ReadBack(logID(l.Build), buildlog.End, buildlog.Span{}, 1, maxEventBytes)
		if err1 == nil && err2 == nil && len(first.Events) > 0 && len(end.Events) > 0 {
			d.FirstEventTimestamp, d.LastEventTimestamp = new(first.Events[0].Time.UnixMilli()), new(end.Events[0].Time.UnixMilli())
			d.LastIngestionTime = d.LastEventTimestamp
		}
		out.LogStreams = append(out.LogStreams, d)
	}
	return out, nil
}

func logARN(s store.Scope, resource string) string {
	return arn.ARN{Partition: arn.Partition(s.Region), Service: "logs", Region: s.Region, Account: s.Account, Resource: resource}.String()
}

var _ api.Service = (*Service)(nil)
