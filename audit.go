package iris

// AuditAction is what somebody did to Iris itself, as the audit log names it.
type AuditAction string

const (
	AuditKeyCreated        AuditAction = "key.created"
	AuditKeyRevoked        AuditAction = "key.revoked"
	AuditKeyRotated        AuditAction = "key.rotated"
	AuditTeamCreated       AuditAction = "team.created"
	AuditTeamChanged       AuditAction = "team.changed"
	AuditTeamRemoved       AuditAction = "team.removed"
	AuditProcessKilled     AuditAction = "process.killed"
	AuditPermissionDecided AuditAction = "permission.decided"
)

// AuditEntry is one line of the audit log. No secret belongs into it: no key, no hash of one,
// no question and no answer.
type AuditEntry struct {
	Action    AuditAction
	Subject   string // what it was done to: the name of a key or a team, the id of a permission
	By        Caller // who did it; its kind and name are recorded
	Address   string // of the client, for what came over HTTP
	RequestID string // likewise
	Details   map[string]any
}
