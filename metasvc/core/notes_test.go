package core

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pegasus/netcore/proto"
)

func TestNotes(t *testing.T) {
	s := NewState()
	if list, last := s.Notes(0); len(list) != 0 || last != 0 {
		t.Fatalf("an empty log has %v", list)
	}
	for i := range 3*notesKept + 7 {
		s.note(int64(i), "k", "t")
		if i%97 != 0 && i != notesKept-1 && i != notesKept {
			continue
		}
		back, err := ReadSnapshot(s.AppendSnapshot(nil))
		if err != nil || back.lastNote != s.lastNote || !slices.Equal(back.notes, s.notes) {
			t.Fatalf("after %d notes a snapshot gives %d, up to %d, %v", i+1, len(back.notes), back.lastNote, err)
		}
	}
	const last = 3*notesKept + 7
	for _, tc := range []struct{ after, first, n int64 }{
		{0, last - notesAtOnce + 1, notesAtOnce},
		{last - 2, last - 1, 2},
		{last, 0, 0},
		{last + 5, last - notesAtOnce + 1, notesAtOnce}, // a number that was never given
		{-1, last - notesAtOnce + 1, notesAtOnce},
	} {
		list, newest := s.Notes(tc.after)
		if int64(len(list)) != tc.n || newest != last || len(list) > 0 && (list[0].Seq != tc.first || list[0].At != tc.first-1) {
			t.Errorf("after %d: %d notes up to %d", tc.after, len(list), newest)
		}
	}
	s.note(1, "k", strings.Repeat("ä", maxNoteText))
	if list, _ := s.Notes(last); len(list[0].Text) > maxNoteText+4 || !strings.HasSuffix(list[0].Text, "ä ...") {
		t.Errorf("a long text became %d bytes, ending in %q", len(list[0].Text), list[0].Text[maxNoteText-8:])
	}
}

// Notes of a snapshot that cannot be are refused, and so is what would spoil the ring.
func TestNotesOfSnapshot(t *testing.T) {
	list := func(from, to int64) (l []Note) {
		for q := from; q <= to; q++ {
			l = append(l, Note{Seq: q})
		}
		return l
	}
	for name, bad := range map[string][]Note{
		"zero": list(0, 3), "gap": {{Seq: 1}, {Seq: 3}}, "too many": list(1, notesKept+1), "late begin": list(2, 9), "twice": {{Seq: 1}, {Seq: 1}},
	} {
		if err := NewState().setNotes(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	s := NewState()
	if err := s.setNotes(list(2, notesKept+1)); err != nil || s.notes[0].Seq != notesKept+1 || s.notes[1].Seq != 2 {
		t.Errorf("%v, %v", err, s.notes[:2])
	}
}

// Two metas that apply the same entries tell the same story, also when one of them begins with a snapshot in the middle; and a
// program of before, which knows no notes, reads entries that carry some as entries that do nothing.
func TestNotesAreReplicated(t *testing.T) {
	one, two := NewState(), NewState()
	var d Delta
	commands := append(sampleCommands(), Command{Kind: CommandExpireApps, Body: &ExpireApps{Notes: []Note{{Seq: 99, At: 5, Kind: "node", Text: "n1 is back"}}}})
	for i, c := range commands {
		b, err := ParseCommand(AppendCommand(nil, &c))
		if err != nil {
			t.Fatal(err)
		}
		one.applyNoted(int64(i), &c, &d)
		two.applyNoted(int64(i), &b, &d)
		if i%3 == 0 {
			if two, err = ReadSnapshot(two.AppendSnapshot(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(one.AppendSnapshot(nil), two.AppendSnapshot(nil)) {
		t.Error("the states differ")
	}
	list, last := two.Notes(0)
	if n := list[last-1]; n.Seq != last || n.At != 5 || n.Text != "n1 is back" {
		t.Errorf("the last note is %+v", n)
	}
	checkGolden(t, "notes_v1.txt", []string{"command", "snapshot"}, [][]byte{AppendCommand(nil, &commands[len(commands)-1]), one.AppendSnapshot(nil)})

	var old struct {
		Now int64 `thrift:"1"`
	}
	if err := proto.Unmarshal(AppendCommand(nil, &commands[len(commands)-1])[commandHeaderLen:], &old); err != nil || old.Now != 0 {
		t.Errorf("a program of before reads %+v, %v", old, err)
	}
	before := NewState()
	for _, c := range sampleCommands()[:8] {
		before.Apply(&c, &d)
	}
	snap := before.AppendSnapshot(nil)
	before.Apply(&Command{Kind: CommandExpireApps, Body: &ExpireApps{Now: old.Now}}, &d)
	if !bytes.Equal(snap, before.AppendSnapshot(nil)) {
		t.Error("and its state changes")
	}
}

// What was refused, or was so already, is no event.
func TestNoNoteOfNothing(t *testing.T) {
	s := NewState()
	var d Delta
	for _, c := range sampleCommands()[:4] {
		s.applyNoted(1, &c, &d)
		_, last := s.Notes(0)
		s.applyNoted(1, &c, &d)
		if _, again := s.Notes(0); again != last {
			if _, env := c.Body.(*UpdateAppEnv); !env { // an environment that is set again counts as a change
				list, _ := s.Notes(last)
				t.Errorf("%T a second time: %v", c.Body, fmt.Sprint(list))
			}
		}
	}
}

// BenchmarkNotes is what the words for a change of a configuration cost every meta, beside the change itself.
func BenchmarkNotes(b *testing.B) {
	s, d := largeCore(b).st, &Delta{}
	for _, noted := range []bool{false, true} {
		b.Run(fmt.Sprintf("noted=%v", noted), func(b *testing.B) {
			b.ReportAllocs()
			p := s.Partition(proto.GPID{App: 7, Part: 3})
			c := &Command{Kind: CommandReconfigure, Body: &Reconfigure{Update: proto.UpdateConfig{Type: proto.CTUpgradeToPrimary, Config: proto.PartitionConfig{GPID: proto.GPID{App: 7, Part: 3}}}}}
			u := &c.Body.(*Reconfigure).Update
			for b.Loop() {
				u.From, u.Node, u.Config.Ballot = p.Primary, p.Secondaries[0], p.Ballot+1
				res := Result{}
				if noted {
					res = s.applyNoted(1, c, d)
				} else {
					res = s.Apply(c, d)
				}
				if res.Err != proto.ErrOK {
					b.Fatal(res.Err)
				}
			}
		})
	}
}
