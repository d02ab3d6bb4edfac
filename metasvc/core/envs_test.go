package core

import (
	"encoding/json"
	"strings"
	"testing"

	"pegasus/netcore/proto"
	"pegasus/netcore/proto/golden"
)

// TestRecordedEnvs puts every recorded update of environments to the rules and compares error and hint.
func TestRecordedEnvs(t *testing.T) {
	cases, err := golden.Load("08_meta")
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, c := range cases {
		if !strings.HasPrefix(c.Name, "env_") {
			continue
		}
		for i := range c.Steps {
			st := &c.Steps[i]
			if st.RPC != "RPC_CM_UPDATE_APP_ENV" {
				continue
			}
			frame, err := golden.Expand(st.RequestHex)
			if err != nil {
				t.Fatal(err)
			}
			var req proto.Request
			if n, _, err := proto.ParseTHFT(frame, 1<<20, &req); n == 0 || err != nil {
				t.Fatalf("%s/%d: %v", c.Name, st.Step, err)
			}
			var r proto.UpdateAppEnvRequest
			if err := proto.UnmarshalArgs(req.Args, &r); err != nil {
				t.Fatalf("%s/%d: %v", c.Name, st.Step, err)
			}
			body := st.Response["body"].(map[string]any)
			res, _ := checkEnvRequest(&r)
			if res.Err.String() != body["err"] || res.Hint != body["hint_message"] {
				t.Errorf("%s/%d %v=%q: got %v %q, recorded %v %q", c.Name, st.Step, r.Keys, r.Values, res.Err, res.Hint,
					body["err"], body["hint_message"])
			}
			judged++
		}
	}
	if judged < 80 {
		t.Fatalf("only %d recorded updates found", judged)
	}
}

// TestRecordedEnvList compares the names and the words for the limits with what the recorded server listed on
// /envs/list.
func TestRecordedEnvList(t *testing.T) {
	cases, err := golden.Load("10_http")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for i := range c.Steps {
			st := &c.Steps[i]
			if st.HTTP == nil || st.HTTP.Path != "/envs/list" {
				continue
			}
			shape := st.Response["shape"].(map[string]any)
			for key := range shape {
				if _, ok := envRules[key]; !ok {
					t.Errorf("%s has no rule", key)
				}
			}
			if len(shape) != len(envRules) {
				t.Errorf("%d rules, %d recorded", len(envRules), len(shape))
			}
			return
		}
	}
	t.Fatal("recording of /envs/list not found")
}

// TestEnvRules covers what was not recorded, after spec admin 3.
func TestEnvRules(t *testing.T) {
	const fieldCount = "The field count of 'x' separated by '*' must be 3"
	for _, c := range []struct{ key, value, hint string }{
		{"replica.slow_query_threshold", "20", ""},
		{"replica.slow_query_threshold", "-1", ""},
		{"replica.slow_query_threshold", "19", "invalid value '19', should be '>= 20'"},
		{"manual_compact.once.trigger_time", "0", ""},
		{"manual_compact.once.trigger_time", "-1",
			"invalid value '-1', should be '> 0, timestamp (in seconds) to trigger the once manual compaction'"},
		{"manual_compact.periodic.trigger_time", "anything", ""},
		{"default_ttl", "0x", "invalid value '0x', should be an 32 bits integer"},
		{"default_ttl", "08", "invalid value '08', should be an 32 bits integer"},
		{"default_ttl", "\t+7", ""},
		{"default_ttl", "7 ", "invalid value '7 ', should be an 32 bits integer"},
		{"default_ttl", "7\x00", "invalid value '7\x00', should be an 32 bits integer"},
		{"replica.rocksdb_iteration_threshold_time_ms", "9223372036854775807", ""},
		{"replica.rocksdb_iteration_threshold_time_ms", "9223372036854775808",
			"invalid value '9223372036854775808', should be an 64 bits integer"},
		{"manual_compact.once.target_level", "-9223372036854775808", "invalid value '-9223372036854775808', should be '-1 or >= 1'"},
		{"replica.write_throttling", "", "The value shouldn't be empty"},
		{"replica.write_throttling", " , ", "The value shouldn't be empty"},
		{"replica.write_throttling", "20000*delay*100,", ""},
		{"replica.write_throttling", "0*delay*0", ""},
		{"replica.write_throttling", "20K * delay * 100 , 1M*reject*5", ""},
		{"replica.write_throttling", "5*drop*1", "'drop' should be 'delay' or 'reject'"},
		{"replica.write_throttling", "M*delay*1", "'' should be an unsigned integer"},
		{"replica.write_throttling", "-5*delay*1", "'-5' should be an unsigned integer"},
		{"replica.write_throttling", "-0*delay*1", ""},
		{"replica.write_throttling", "18446744073709551615K*delay*1", "'18446744073709551615' result is overflow"},
		{"replica.write_throttling", "1*delay*x", "'x' should be an unsigned integer"},
		{"replica.write_throttling", "1*delay*1,2*delay*2", "duplicate 'delay' config"},
		{"replica.write_throttling", "1*reject*1,2*reject*2", "duplicate 'reject' config"},
		{"replica.read_throttling_by_size", "200", ""},
		{"replica.read_throttling_by_size", "200K", ""},
		{"replica.read_throttling_by_size", "20000*delay*100", ""},
		{"replica.read_throttling_by_size", "20000*delay*100,20000*reject*100", ""},
		{"replica.read_throttling_by_size", "0*reject*1", "reject value should be greater than 0"},
		{"replica.read_throttling_by_size", "x", fieldCount},
		{"replica.deny_client_request", "timeout*all", ""},
		{"replica.deny_client_request", "all", denyClient("")},
		{"replica.deny_client_request", "timeout*none", denyClient("")},
		{"restore.policy_name", "x", "app_env 'restore.policy_name' is not supported"},
	} {
		if got := validateEnv(c.key, c.value); got != c.hint {
			t.Errorf("%s=%q: got %q, want %q", c.key, c.value, got, c.hint)
		}
	}
}

func TestEnvsToDelete(t *testing.T) {
	envs := map[string]string{"a": "1", "a.": "2", "a.b": "3", "a.b.c": "4", "ab": "5"}
	prefix := func(p string) *proto.UpdateAppEnvRequest {
		return &proto.UpdateAppEnvRequest{Op: proto.AppEnvOpClear, ClearPrefix: &p}
	}
	for _, c := range []struct {
		req  *proto.UpdateAppEnvRequest
		want string
	}{
		{prefix(""), `["a","a.","a.b","a.b.c","ab"]`},
		{prefix("a"), `["a.b","a.b.c"]`},
		{prefix("a.b"), `["a.b.c"]`},
		{prefix("x"), `null`},
		{&proto.UpdateAppEnvRequest{Op: proto.AppEnvOpDel, Keys: []string{"ab", "x", "a", "ab"}}, `["ab","a"]`},
	} {
		got, err := json.Marshal(envsToDelete(envs, c.req))
		if err != nil || string(got) != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
