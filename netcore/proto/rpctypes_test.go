package proto

import (
	"reflect"
	"testing"
)

// adminTypes holds a pointer to the argument and the result type of every admin RPC that has structs here.
var adminTypes = map[Code][2]any{
	CodeCLICall:                        {&Command{}, new(string)},
	CodeNegotiation:                    {&NegotiationRequest{}, &NegotiationResponse{}},
	CodeCMQueryPartitionConfigByIndex:  {&QueryCfgRequest{}, &QueryCfgResponse{}},
	CodeCMCreateApp:                    {&CreateAppRequest{}, &CreateAppResponse{}},
	CodeCMDropApp:                      {&DropAppRequest{}, &DropAppResponse{}},
	CodeCMRecallApp:                    {&RecallAppRequest{}, &RecallAppResponse{}},
	CodeCMRenameApp:                    {&RenameAppRequest{}, &RenameAppResponse{}},
	CodeCMListApps:                     {&ListAppsRequest{}, &ListAppsResponse{}},
	CodeCMListNodes:                    {&ListNodesRequest{}, &ListNodesResponse{}},
	CodeCMClusterInfo:                  {&ClusterInfoRequest{}, &ClusterInfoResponse{}},
	CodeCMProposeBalancer:              {&BalancerRequest{}, &BalancerResponse{}},
	CodeCMControlMeta:                  {&MetaControlRequest{}, &MetaControlResponse{}},
	CodeCMStartRecovery:                {&RecoveryRequest{}, &RecoveryResponse{}},
	CodeCMStartRestore:                 {&RestoreRequest{}, &CreateAppResponse{}},
	CodeCMQueryRestoreStatus:           {&QueryRestoreRequest{}, &QueryRestoreResponse{}},
	CodeCMAddBackupPolicy:              {&AddBackupPolicyRequest{}, &AddBackupPolicyResponse{}},
	CodeCMQueryBackupPolicy:            {&QueryBackupPolicyRequest{}, &QueryBackupPolicyResponse{}},
	CodeCMModifyBackupPolicy:           {&ModifyBackupPolicyRequest{}, &ModifyBackupPolicyResponse{}},
	CodeCMStartBackupApp:               {&StartBackupAppRequest{}, &StartBackupAppResponse{}},
	CodeCMQueryBackupStatus:            {&QueryBackupStatusRequest{}, &QueryBackupStatusResponse{}},
	CodeCMUpdateAppEnv:                 {&UpdateAppEnvRequest{}, &UpdateAppEnvResponse{}},
	CodeCMDDDDiagnose:                  {&DDDDiagnoseRequest{}, &DDDDiagnoseResponse{}},
	CodeCMStartPartitionSplit:          {&StartPartitionSplitRequest{}, &StartPartitionSplitResponse{}},
	CodeCMControlPartitionSplit:        {&ControlSplitRequest{}, &ControlSplitResponse{}},
	CodeCMQueryPartitionSplit:          {&QuerySplitRequest{}, &QuerySplitResponse{}},
	CodeCMStartBulkLoad:                {&StartBulkLoadRequest{}, &StartBulkLoadResponse{}},
	CodeCMControlBulkLoad:              {&ControlBulkLoadRequest{}, &ControlBulkLoadResponse{}},
	CodeCMQueryBulkLoadStatus:          {&QueryBulkLoadRequest{}, &QueryBulkLoadResponse{}},
	CodeCMClearBulkLoad:                {&ClearBulkLoadStateRequest{}, &ClearBulkLoadStateResponse{}},
	CodeCMStartManualCompact:           {&StartAppManualCompactRequest{}, &StartAppManualCompactResponse{}},
	CodeCMQueryManualCompactStatus:     {&QueryAppManualCompactRequest{}, &QueryAppManualCompactResponse{}},
	CodeCMGetMaxReplicaCount:           {&GetMaxReplicaCountRequest{}, &GetMaxReplicaCountResponse{}},
	CodeCMSetMaxReplicaCount:           {&SetMaxReplicaCountRequest{}, &SetMaxReplicaCountResponse{}},
	CodeCMGetAtomicIdempotent:          {&GetAtomicIdempotentRequest{}, &GetAtomicIdempotentResponse{}},
	CodeCMSetAtomicIdempotent:          {&SetAtomicIdempotentRequest{}, &SetAtomicIdempotentResponse{}},
	CodeCMAddDuplication:               {&DuplicationAddRequest{}, &DuplicationAddResponse{}},
	CodeCMModifyDuplication:            {&DuplicationModifyRequest{}, &DuplicationModifyResponse{}},
	CodeCMQueryDuplication:             {&DuplicationQueryRequest{}, &DuplicationQueryResponse{}},
	CodeCMListDuplication:              {&DuplicationListRequest{}, &DuplicationListResponse{}},
	CodeCMDuplicationSync:              {&DuplicationSyncRequest{}, &DuplicationSyncResponse{}},
	CodeCMConfigSync:                   {&ConfigSyncRequest{}, &ConfigSyncResponse{}},
	CodeCMUpdatePartitionConfiguration: {&UpdateConfigurationRequest{}, &UpdateConfigurationResponse{}},
	CodeQueryAppInfo:                   {&QueryAppInfoRequest{}, &QueryAppInfoResponse{}},
	CodeQueryDiskInfo:                  {&QueryDiskInfoRequest{}, &QueryDiskInfoResponse{}},
	CodeQueryPNDecree:                  {&QueryReplicaDecreeRequest{}, &QueryReplicaDecreeResponse{}},
	CodeQueryReplicaInfo:               {&QueryReplicaInfoRequest{}, &QueryReplicaInfoResponse{}},
	CodeReplicaDiskMigrate:             {&ReplicaDiskMigrateRequest{}, &ReplicaDiskMigrateResponse{}},
	CodeDetectHotkey:                   {&DetectHotkeyRequest{}, &DetectHotkeyResponse{}},
	CodeAddNewDisk:                     {&AddNewDiskRequest{}, &AddNewDiskResponse{}},
	CodeBulkLoad:                       {&IngestionRequest{}, &IngestionResponse{}},
}

// peerTypes holds the messages of the control plane.
var peerTypes = []any{
	&NodeHello{}, &NodeHelloAck{}, &NodeBeacon{}, &NodeBeaconAck{}, &Assignments{}, &Proposal{}, &UpdateConfig{},
	&UpdateConfigAck{}, &NodeReport{},
}

// fresh returns a pointer to a new zero value of what sample points to.
func fresh(sample any) any { return reflect.New(reflect.TypeOf(sample).Elem()).Interface() }

// allTypes calls f with a fresh value of every message type.
func allTypes(f func(v any)) {
	for c := range codeCount {
		if tt, ok := adminTypes[c]; ok {
			f(fresh(tt[0]))
			f(fresh(tt[1]))
		}
	}
	for _, v := range peerTypes {
		f(fresh(v))
	}
}

// fill sets every field reachable from v, which is settable, to something that is not zero.
func fill(v reflect.Value, seed *int64) {
	*seed++
	switch t := v.Addr().Interface().(type) {
	case *ErrCode:
		*t = ErrCode(*seed % int64(errCodeCount))
		return
	case *Code:
		*t = Code(1 + *seed%int64(codeCount-1))
		return
	case *HostPort:
		*t = NewHostPort("host-"+GPID{App: int32(*seed)}.String(), uint16(*seed))
		return
	case *NodeID:
		t[0] = byte(*seed)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(*seed % 100)
	case reflect.Uint64:
		v.SetUint(uint64(*seed))
	case reflect.String:
		v.SetString("s" + GPID{App: int32(*seed)}.String())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), seed)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			if v.Type() == reflect.TypeFor[[]byte]() {
				v.Index(i).SetUint(uint64(*seed) & 0xff)
			} else {
				fill(v.Index(i), seed)
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, seed)
			if e.Kind() != reflect.Struct || e.NumField() > 0 {
				fill(e, seed)
			}
			v.SetMapIndex(k, e)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), seed)
		}
	}
}

// Every message survives a round trip with all its fields set, and with none.
func TestAllMessagesRoundTrip(t *testing.T) {
	allTypes(func(v any) {
		for _, full := range []bool{true, false} {
			in := fresh(v)
			if full {
				seed := int64(7)
				fill(reflect.ValueOf(in).Elem(), &seed)
			}
			b := AppendArgs(nil, in, 1)
			out := fresh(v)
			if err := UnmarshalArgs(b, out); err != nil {
				t.Fatalf("%T: %v", v, err)
			}
			if full && !reflect.DeepEqual(in, out) {
				t.Errorf("%T:\n got %+v\nwant %+v", v, out, in)
			}
			if again := AppendArgs(nil, out, 1); string(again) != string(b) {
				t.Errorf("%T: second encoding differs\n got %x\nwant %x", v, again, b)
			}
			for n := range b {
				if err := UnmarshalArgs(b[:n], fresh(v)); err == nil {
					t.Errorf("%T: cut at %d of %d is accepted", v, n, len(b))
				}
			}
		}
	})
}
