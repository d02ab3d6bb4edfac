package core

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pegasus/netcore/proto"
)

// Notes are the log of events that people read. They are part of the replicated state: what a command did is put into words
// where it is applied, by every meta alike, so a new leader tells the same story under the same numbers as the old one. What
// only a leader sees (a node fell silent, the guardian asked for something) it has stored in the journal, see Observed.

// Note is something that happened.
type Note struct {
	Seq  int64  `thrift:"1"` // from 1, without gaps
	At   int64  `thrift:"2"` // unix milliseconds, by the clock of the leader of that time
	Kind string `thrift:"3"` // "meta", "node", "table", "partition", "guardian", "job", "config"
	Text string `thrift:"4"`
}

// Limits of notes: how many are kept, told at once, and stored with one entry of the journal; and bytes of a text.
const (
	notesKept   = 1024
	notesAtOnce = 256
	MaxObserved = 64
	maxNoteText = 512
)

// Observed asks a leader to store what it saw, at most MaxObserved notes; their Seq means nothing. They are stored when they
// come back as a Committed, and lost with the leadership.
type Observed struct{ Notes []Note }

func (Observed) event() {}

// observed has notes stored. They travel with a command that programs of before know too: with Now 0 it expires nothing, and
// a field that is new to them they skip.
func (c *Core) observed(e Observed, out *Effects) {
	if c.role == Leading && len(e.Notes) > 0 {
		c.propose(CommandExpireApps, &ExpireApps{Notes: e.Notes[:min(len(e.Notes), MaxObserved)]}, waiter{}, out)
	}
}

// note appends a note and forgets the oldest one when there are too many.
func (s *State) note(at int64, kind, text string) {
	if len(text) > maxNoteText {
		text = strings.ToValidUTF8(text[:maxNoteText], "") + " ..."
	}
	s.lastNote++
	n := Note{Seq: s.lastNote, At: at, Kind: kind, Text: text}
	if len(s.notes) < notesKept {
		s.notes = append(s.notes, n)
		return
	}
	s.notes[(s.lastNote-1)%notesKept] = n
}

// allNotes returns what is kept, the oldest first.
func (s *State) allNotes() []Note {
	if len(s.notes) < notesKept {
		return s.notes
	}
	at := s.lastNote % notesKept
	return slices.Concat(s.notes[at:], s.notes[:at])
}

// setNotes takes over what allNotes gave.
func (s *State) setNotes(list []Note) error {
	if len(list) > notesKept {
		return fmt.Errorf("core: snapshot: %d notes", len(list))
	}
	for i := range list {
		if list[i].Seq < 1 || i > 0 && list[i].Seq != list[i-1].Seq+1 {
			return fmt.Errorf("core: snapshot: note %d out of order", list[i].Seq)
		}
	}
	s.notes, s.lastNote = nil, 0
	if len(list) == 0 {
		return nil
	}
	s.lastNote = list[len(list)-1].Seq
	if len(list) < notesKept && list[0].Seq != 1 {
		return fmt.Errorf("core: snapshot: notes begin with %d", list[0].Seq)
	}
	s.notes = make([]Note, len(list))
	for _, n := range list {
		s.notes[(n.Seq-1)%notesKept] = n
	}
	return nil
}

// Notes returns the notes behind seq, the oldest first, and the number of the newest. When there are more than are told at once,
// or kept, the oldest of them are left out. A seq that was never given is taken for 0.
func (s *State) Notes(seq int64) (list []Note, last int64) {
	if seq > s.lastNote || seq < 0 {
		seq = 0
	}
	from := max(seq, s.lastNote-min(s.lastNote, notesAtOnce))
	list = make([]Note, 0, s.lastNote-from)
	for q := from; q < s.lastNote; q++ {
		list = append(list, s.notes[q%notesKept])
	}
	return list, s.lastNote
}

// applyNoted carries out a command as Apply does and notes what it did. at is when it was proposed, in unix milliseconds.
func (s *State) applyNoted(at int64, c *Command, d *Delta) Result {
	revision, known := s.revision, false
	if b, ok := c.Body.(*RegisterNode); ok {
		old := s.nodes[b.Node.ID]
		known = old != nil && old.Incarnation != b.Node.Incarnation
	}
	res := s.Apply(c, d)
	if b, ok := c.Body.(*ExpireApps); ok {
		for _, n := range b.Notes {
			s.note(n.At, n.Kind, n.Text)
		}
	}
	if s.revision == revision {
		return res // it was refused, or repeated what was so already
	}
	if kind, text := s.tell(c, d, known); text != "" {
		s.note(at, kind, text)
	}
	for _, id := range d.Jobs {
		if j := s.Job(id); j != nil {
			s.note(at, "job", s.tellJob(j))
		}
	}
	return res
}

// tell puts into words what a command did. restarted says that the node was known under another incarnation.
func (s *State) tell(c *Command, d *Delta, restarted bool) (kind, text string) {
	switch b := c.Body.(type) {
	case *CreateApp:
		r := &b.Request
		return "table", fmt.Sprintf("table %s is created: %d partitions of %d replicas", r.AppName, r.Options.PartitionCount, r.Options.ReplicaCount)
	case *DropApp:
		return "table", fmt.Sprintf("table %s is dropped", b.Request.AppName)
	case *RecallApp:
		return "table", fmt.Sprintf("table %d is recalled as %s", b.Request.AppID, s.appName(b.Request.AppID))
	case *RenameApp:
		return "table", fmt.Sprintf("table %s is now %s", b.Request.OldAppName, b.Request.NewAppName)
	case *ExpireApps:
		return "table", fmt.Sprintf("dropped tables are forgotten, their time is over: %v", d.Apps)
	case *UpdateAppEnv:
		return "config", fmt.Sprintf("environments of table %s: %s", b.Request.AppName, tellEnvs(&b.Request))
	case *SetReplicas:
		return "config", fmt.Sprintf("table %s wants %d replicas", s.appName(b.AppID), b.Count)
	case *SetIdempotent:
		return "config", fmt.Sprintf("table %s: atomic_idempotent is %v", s.appName(b.AppID), b.Value)
	case *SetOption:
		return "config", tellOption(b)
	case *RegisterNode:
		if restarted {
			return "node", fmt.Sprintf("%s was restarted", b.Node.Address)
		}
		return "node", fmt.Sprintf("%s registered", b.Node.Address)
	case *ReturnNode:
		return "node", fmt.Sprintf("%s is put back into service", s.NodeName(b.Node))
	case *Reconfigure:
		return "partition", s.tellChange(&b.Update, d)
	case *Appoint:
		return "partition", fmt.Sprintf("%s: %s is appointed as the only member", s.PartitionName(b.GPID), s.NodeName(b.Node))
	case *Recover:
		return "meta", fmt.Sprintf("the state is recovered from %d replica servers: %d tables", len(b.Nodes), len(b.Apps))
	}
	return "", ""
}

// appName is how people know a table: its name, or its id when it is forgotten.
func (s *State) appName(id int32) string {
	if a := s.App(id); a != nil {
		return a.Info.AppName
	}
	return strconv.Itoa(int(id))
}

// PartitionName names a partition by table and index.
func (s *State) PartitionName(g proto.GPID) string {
	return fmt.Sprintf("%s/%d", s.appName(g.App), g.Part)
}

func (s *State) tellJob(j *Job) string {
	about := ""
	if !j.Node.IsZero() {
		about = " " + s.NodeName(j.Node)
	}
	if j.App != 0 {
		about += " " + s.appName(j.App)
	}
	k := jobKinds[j.Kind]
	text := fmt.Sprintf("job %d, %s%s: %s", j.ID, k.name, about, jobStatusNames[j.Status])
	if int(j.Step) < len(k.steps) && j.active() {
		text += ", " + k.steps[j.Step].name
	}
	if j.Reason != "" {
		text += " (" + j.Reason + ")"
	}
	return text
}

func tellOption(b *SetOption) string {
	switch n, err := strconv.Atoi(b.Value); {
	case b.Default:
		return b.Key + " is as configured again"
	case b.Key == OptLevel && err == nil:
		return "the function level is " + strings.TrimPrefix(proto.MetaFunctionLevel(n).String(), "fl_")
	}
	return fmt.Sprintf("%s is %s", b.Key, b.Value)
}

func tellEnvs(r *proto.UpdateAppEnvRequest) string {
	switch r.Op {
	case proto.AppEnvOpSet:
		var parts []string
		for i := range min(len(r.Keys), len(r.Values)) {
			parts = append(parts, r.Keys[i]+"="+r.Values[i])
		}
		return "set " + strings.Join(parts, ", ")
	case proto.AppEnvOpDel:
		return "removed " + strings.Join(r.Keys, ", ")
	}
	return "cleared"
}

// tellChange tells how a configuration changed, and on whose word.
func (s *State) tellChange(u *proto.UpdateConfig, d *Delta) string {
	if len(d.Parts) != 1 {
		return ""
	}
	old, now := &d.Parts[0], s.Partition(u.Config.GPID)
	was := append([]proto.NodeID{old.OldPrimary}, old.OldSecondaries...)
	var parts []string
	switch {
	case now.Primary == old.OldPrimary:
	case old.OldPrimary.IsZero():
		parts = append(parts, s.NodeName(now.Primary)+" is the first primary")
	default:
		parts = append(parts, fmt.Sprintf("%s is primary in place of %s", s.NodeName(now.Primary), s.NodeName(old.OldPrimary)))
	}
	for _, n := range now.Secondaries {
		if !slices.Contains(was, n) {
			parts = append(parts, s.NodeName(n)+" is a member")
		}
	}
	for _, n := range was {
		if !n.IsZero() && !now.isMember(n) {
			parts = append(parts, s.NodeName(n)+" is a member no more")
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "a new ballot, the same members")
	}
	from := u.From
	if from.IsZero() {
		from = u.Node
	}
	return fmt.Sprintf("%s: %s; asked by %s, ballot %d", s.PartitionName(u.Config.GPID), strings.Join(parts, ", "), s.NodeName(from), now.Ballot)
}
