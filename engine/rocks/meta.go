package rocks

// #include "shim.h"
import "C"

import (
	"fmt"

	"pegasus/engine"
)

// Usage scenarios, the values of the table environment rocksdb.usage_scenario.
const (
	ScenarioNormal      = "normal"
	ScenarioPreferWrite = "prefer_write"
	ScenarioBulkLoad    = "bulk_load"
)

// scenarioFactor is by how much prefer_write puts off compactions.
const scenarioFactor = 10

// noLimit is a number of level-0 files that is never reached.
const noLimit = 1 << 30

// UsageScenario is the scenario last set, normal when none ever was.
func (s *Store) UsageScenario() (string, error) {
	if !s.gate.enter() {
		return "", engine.ErrClosed
	}
	defer s.gate.leave()
	v, ok, err := s.metaGet(keyUsageScenario)
	if err != nil || ok {
		return v, err
	}
	return ScenarioNormal, nil
}

// SetUsageScenario turns the store to reads and writes alike (normal), to writes (prefer_write: compactions wait) or to a
// load of everything (bulk_load: no compaction until the scenario changes), and remembers that; it is durable with the
// next flush. Open applies what was remembered.
func (s *Store) SetUsageScenario(scenario string) error {
	return s.Tune(engine.Tuning{Scenario: scenario})
}

// Tune implements engine.Store. An empty scenario is normal.
func (s *Store) Tune(t engine.Tuning) error {
	if !s.gate.enter() {
		return engine.ErrClosed
	}
	defer s.gate.leave()
	if t.Scenario == "" {
		t.Scenario = ScenarioNormal
	}
	if err := s.applyTuning(t); err != nil {
		return err
	}
	return s.metaPut(keyUsageScenario, t.Scenario)
}

func (s *Store) applyTuning(t engine.Tuning) error {
	compact, slowdown, stop, off := s.o.L0Compact, s.o.L0Slowdown, s.o.L0Stop, s.o.NoAutoCompact
	switch t.Scenario {
	case ScenarioNormal:
	case ScenarioPreferWrite:
		compact, slowdown, stop = compact*scenarioFactor, slowdown*scenarioFactor, stop*scenarioFactor
	case ScenarioBulkLoad:
		compact, slowdown, stop, off = noLimit, noLimit, noLimit, true
	default:
		return fmt.Errorf("rocks: unknown usage scenario %q", t.Scenario)
	}
	buffer := t.WriteBufferBytes
	if buffer == 0 {
		buffer = s.o.WriteBufferBytes
	}
	// In one step: RocksDB asserts that the limits ascend.
	options := fmt.Sprintf("level0_file_num_compaction_trigger=%d;level0_slowdown_writes_trigger=%d;"+
		"level0_stop_writes_trigger=%d;disable_auto_compactions=%v;write_buffer_size=%d", compact, slowdown, stop, off, buffer)
	var st C.pg_status
	C.pg_set_options(s.c, text(options), C.size_t(len(options)), &st)
	if st.code == 0 {
		s.tuning.Store(&engine.Tuning{Scenario: t.Scenario, WriteBufferBytes: buffer})
	}
	return statusErr(&st)
}

// Tuning implements engine.Store.
func (s *Store) Tuning() engine.Tuning { return *s.tuning.Load() }
