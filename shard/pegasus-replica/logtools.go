package main

import (
	"fmt"
	"strings"
	"time"

	"pegasus/consensus/mutlog"
	"pegasus/engine"
	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// logEntry is an entry of a log, as JSON has it.
type logEntry struct {
	Segment   string         `json:"segment"`
	Offset    int64          `json:"offset"`
	Bytes     int64          `json:"bytes"`
	Kind      string         `json:"kind"`
	GPID      string         `json:"gpid,omitempty"`
	Ballot    proto.Ballot   `json:"ballot,omitempty"`
	Decree    proto.Decree   `json:"decree,omitempty"`
	Committed proto.Decree   `json:"committed,omitempty"`
	Timestamp int64          `json:"timestamp_us,omitempty"`
	Records   []loggedRecord `json:"records,omitempty"`
	Count     uint32         `json:"record_count,omitempty"`
}

type loggedRecord struct {
	Delete bool `json:"delete"`
	record
}

func mlogDump(t *tool, args []string) error {
	input := t.flags.String("input", "", "folder of the log of one shard")
	detailed := t.flags.Bool("detailed", false, "the records of each mutation too")
	only := t.flags.String("gpid", "", "this partition only")
	if _, err := t.parse(args, 0, 0, "mlog_dump --input=DIR [--detailed] [--gpid=APP.PARTITION]"); err != nil {
		return err
	}
	if *input == "" {
		return usageError("--input is missing: the folder of the log of one shard, such as data/slog/shard-0")
	}
	damages := 0
	err := mutlog.Dump(disk.OS(), *input, func(e *mutlog.Entry) error {
		if e.Kind == mutlog.EntryDamage {
			damages++
		}
		if *only != "" && e.Record.GPID.String() != *only {
			return nil
		}
		out, text := t.logEntry(e)
		if *detailed && e.Kind == mutlog.EntryMutation {
			more, err := t.logRecords(e, &out)
			if err != nil {
				return err
			}
			text += more
		}
		return t.object(out, text)
	})
	if err != nil {
		return err
	}
	if damages > 0 && !t.json {
		fmt.Fprintf(t.out, "\n%d damaged ranges; at the end of the last segment they are what a crash leaves\n", damages)
	}
	return nil
}

func (t *tool) logEntry(e *mutlog.Entry) (logEntry, string) {
	r := &e.Record
	out := logEntry{Segment: fmt.Sprintf("%016x", e.Segment), Offset: e.Offset, Bytes: e.End - e.Offset, Kind: e.Kind.String()}
	text := fmt.Sprintf("%s @%-9d %-8s", out.Segment, e.Offset, e.Kind)
	switch e.Kind {
	case mutlog.EntryTable:
		return out, text + fmt.Sprintf(" %d partitions, from segment %016x on", e.Partitions, e.Floor)
	case mutlog.EntryDamage:
		if r.GPID.App != 0 {
			out.GPID, out.Decree = r.GPID.String(), r.Decree
			text += fmt.Sprintf(" %v decree %d", r.GPID, r.Decree)
		}
		return out, text + fmt.Sprintf(" %d bytes", out.Bytes)
	}
	out.GPID, out.Ballot, out.Decree, out.Committed, out.Timestamp = r.GPID.String(), r.Ballot, r.Decree, r.Committed, r.Timestamp
	text += fmt.Sprintf(" %v", r.GPID)
	if e.Kind == mutlog.EntryMutation {
		batch := engine.ReadBatch(r.Payload)
		out.Count = batch.Count()
		text += fmt.Sprintf(" ballot %d decree %d committed %d, %d records, %d bytes, %s", r.Ballot, r.Decree, r.Committed, out.Count,
			len(r.Payload), time.UnixMicro(r.Timestamp).UTC().Format(time.RFC3339Nano))
	}
	return out, text
}

// logRecords takes the records of a mutation apart. A mutation that is no batch is said to be one, not an error: the rest of the
// log can still be read.
func (t *tool) logRecords(e *mutlog.Entry, out *logEntry) (string, error) {
	var text strings.Builder
	batch := engine.ReadBatch(e.Record.Payload)
	for batch.Next() {
		r := batch.Record()
		if r.Delete {
			h, s, _ := engine.SplitKey(r.Key)
			out.Records = append(out.Records, loggedRecord{Delete: true, record: record{HashKey: t.shown(h), SortKey: t.shown(s)}})
			text.WriteString("\n    del " + t.quoted(h) + " : " + t.quoted(s))
			continue
		}
		one, line, err := t.describe(engine.DataV1, r.Key, r.Value)
		if err != nil {
			return "", err
		}
		out.Records = append(out.Records, loggedRecord{record: one})
		text.WriteString("\n    set " + line)
	}
	if err := batch.Err(); err != nil {
		text.WriteString("\n    " + err.Error())
	}
	return text.String(), nil
}
