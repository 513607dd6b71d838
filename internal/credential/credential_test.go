package credential

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestStablePart: two requests of one caller have the same part, and those of another caller another.
func TestStablePart(t *testing.T) {
	for name, tc := range map[string]struct{ one, again, other string }{
		"SigV4": {"AWS4-HMAC-SHA256 Credential=AKIA1/20261201/eu/s3/aws4_request, SignedHeaders=host, Signature=aa",
			"AWS4-HMAC-SHA256 Credential=AKIA1/20261202/us/s3/aws4_request,SignedHeaders=host;date,Signature=bb",
			"AWS4-HMAC-SHA256 Credential=AKIA2/20261201/eu/s3/aws4_request, SignedHeaders=host, Signature=aa"},
		"GOOG4":     {"GOOG4-RSA-SHA256 Credential=a@x/20261201/auto/storage/goog4_request, Signature=aa", "GOOG4-RSA-SHA256 Signature=bb, Credential=a@x/20261202/auto/storage/goog4_request", "GOOG4-RSA-SHA256 Credential=b@x/1/a/s/g, Signature=aa"},
		"SharedKey": {"SharedKey account:c2ln", "SharedKey account:b3RoZXI=", "SharedKey another:c2ln"},
		"AWS v2":    {"AWS AKIA1:c2ln", "aws AKIA1:b3RoZXI=", "AWS AKIA2:c2ln"},
		"OAuth 1": {`OAuth realm="x, y", oauth_consumer_key="k", oauth_token="t", oauth_nonce="1", oauth_signature="a"`,
			`OAuth oauth_nonce="2",oauth_token="t",oauth_consumer_key="k",oauth_signature="b"`,
			`OAuth oauth_consumer_key="k", oauth_token="u", oauth_nonce="1", oauth_signature="a"`},
		"Hawk":      {`Hawk id="dh37", ts="1", nonce="a", mac="m"`, `Hawk ts="2", id="dh37", mac="n"`, `Hawk id="x", ts="1", mac="m"`},
		"Digest":    {`Digest username="Mufasa", nonce="1", nc=00000001, response="a"`, `Digest nonce="2", username="Mufasa", nc=00000002`, `Digest username="Scar", nonce="1"`},
		"Signature": {`Signature keyId="k1",algorithm="rsa",signature="a"`, `Signature keyId="k1",signature="b"`, `Signature keyId="k2",signature="a"`},
		"Azure":     {"HMAC-SHA256 Credential=id1&SignedHeaders=host&Signature=a", "HMAC-SHA256 Credential=id1&Signature=b", "HMAC-SHA256 Credential=id2&Signature=a"},
		"Bearer":    {"Bearer abc", "Bearer abc", "Bearer abd"},
		"Basic":     {"Basic YTpi", "Basic YTpi", "Basic YTpj"},
		"DPoP":      {"DPoP abc", "DPoP abc", "DPoP abd"},
		"Negotiate": {"Negotiate YII1", "negotiate YII2", "NTLM TlRM"},
		"unknown":   {"Secret a=b", "Secret a=b", "Secret a=c"},
		"nameless":  {"Hawk ts=1", "Hawk ts=1", "Hawk ts=2"},
	} {
		if Of(tc.one) != Of(tc.again) {
			t.Errorf("%s: one caller is %q and %q", name, Of(tc.one), Of(tc.again))
		}
		if Of(tc.one) == Of(tc.other) {
			t.Errorf("%s: two callers are %q", name, Of(tc.one))
		}
	}
	if Of("") != "" {
		t.Error("no credential has a part")
	}
}

func FuzzOf(f *testing.F) {
	for _, seed := range []string{"", "Hawk id=\"\\", "OAuth =", "AWS4-HMAC-SHA256 Credential=/", "AWS :", `Digest username="a\"b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := Of(value)
		if got != Of(value) {
			t.Errorf("%q has two parts", value)
		}
		if len(got) > len(value)+16 {
			t.Errorf("%q has a longer part %q", value, got)
		}
		if strings.TrimSpace(value) != "" && got == "" {
			t.Errorf("%q has no part", value)
		}
	})
}
