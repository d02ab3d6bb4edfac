package faults

import (
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
)

func TestKillMetaLeader(t *testing.T) {
	w, l := begin(t, onebox.Options{})
	before := l.failures()
	leader := w.metaLeader()
	w.ok(w.Kill(leader.Name))
	w.ok(l.progress(everything()...))
	if now := w.metaLeader(); now.Name == leader.Name {
		t.Errorf("%s leads after its death", now.Name)
	}
	// The new leader can do what needs a majority.
	_, err := w.client.CreateTable(contextFor(t), clientlib.TableSpec{Name: "after", Partitions: 2, Replicas: replicas, IfMissing: true})
	w.ok(err)
	w.ok(w.client.WaitHealthy(contextFor(t), "after", replicas))
	if n := l.failures() - before; n > 0 {
		t.Errorf("%d operations failed though no replica server did", n)
	}
	w.ok(w.Start(leader.Name))
	// And it can lead through a failure.
	victim := w.busiest()
	w.ok(w.Kill(victim))
	w.ok(l.progress(everything()...))
	w.ok(w.Start(victim))
	w.settled(l)
}

// Twenty seconds is how long servers of Apache Pegasus go on without their meta servers.
const metaOutage = 20 * time.Second

func TestAllMetasDown(t *testing.T) {
	w, l := begin(t, onebox.Options{})
	metas := names(onebox.Meta, w.Cluster)
	before := l.failures()
	w.ok(w.Kill(metas...))
	for end := time.Now().Add(metaOutage); time.Now().Before(end); hold(time.Second) {
		w.ok(l.progress(everything()...))
	}
	if n := l.failures() - before; n > 0 {
		t.Errorf("%d operations failed though no replica server did", n)
	}
	w.ok(w.Start(metas...))
	w.settled(l)
}

func TestOneMetaIsEnough(t *testing.T) {
	long(t)
	w, l := begin(t, onebox.Options{Metas: 1})
	w.ok(w.Kill("meta1"))
	w.ok(l.progress(everything()...))
	w.ok(w.Start("meta1"))
	victim := w.busiest()
	w.ok(w.Kill(victim))
	w.ok(l.progress(everything()...))
	w.ok(w.Start(victim))
	w.settled(l)
}
