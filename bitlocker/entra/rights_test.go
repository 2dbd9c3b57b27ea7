package entra

import (
	"encoding/base64"
	"slices"
	"testing"
)

func TestPermissionsOfATokenAsFarAsItShowsThem(t *testing.T) {
	token := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for text, want := range map[string][]string{
		token(`{"roles":["BitlockerKey.Read.All","Device.Read.All"]}`): {"BitlockerKey.Read.All", "Device.Read.All"},
		token(`{"scp":"BitlockerKey.ReadBasic.All openid"}`):           {"BitlockerKey.ReadBasic.All", "openid"},
		token(`{}`): {},
	} {
		if got, shown := permissions(text); !shown || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %t", text, got, shown)
		}
	}
	for _, opaque := range []string{"", "EwBYA8l6BAAU", "a.b", "a.!!.c", token("no JSON")} {
		if got, shown := permissions(opaque); shown || got != nil {
			t.Errorf("%q: %q", opaque, got)
		}
	}
}
