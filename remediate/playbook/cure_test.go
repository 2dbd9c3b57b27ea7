package playbook

import "testing"

func TestWhichBuiltinsAreCures(t *testing.T) {
	want := map[string]bool{"crowdstrike-channel-file-291": true, "disable-driver": true, "disable-service": true,
		"azure-vbs-kb5062553": true, "sbat-dual-boot-kb5041585": true, "sprotect-safeguard-56318982": true,
		"no-automatic-repair": false, "stuck-servicing": false, "safeboot-on": false, "safeboot-off": false, "rotate-recovery-password": false}
	for _, s := range Builtins() {
		name := s.Playbook.Name
		is, known := want[name]
		if !known || s.Playbook.Cure() != is {
			t.Errorf("%s is a cure: %v (listed here: %v)", name, s.Playbook.Cure(), known)
		}
		if digest := s.Playbook.DetectDigest(); len(digest) != 64 {
			t.Errorf("%s: digest %q", name, digest)
		}
	}
	command, err := FromCommand("hostname")
	if err != nil || command.Playbook.Cure() || command.Playbook.DetectDigest() != "" {
		t.Errorf("a command is a cure, or examines: %v", err)
	}
}
