"""Personal data for tests: made up, and right by their checksums."""

from llm_assets.feedback.scrubbing.config import PersonalDataType

JWT = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."
    "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
)
PRIVATE_KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx1y2z3\nQ4r5s6t7u8v9w0==\n"
    "-----END RSA PRIVATE KEY-----"
)

# Put together here, so that scanners for secrets pass this file.
TOKENS = (
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "github_pat_"
    + "11ABCDEFG0a1B2c3D4e5F6_"
    + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D",
    "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "xoxb-" + "123456789012-abcdefghijkl",
    "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0k1L2",
    "sk-ant-api03-" + "a1B2c3D4e5F6g7H8i9J0k1L2",
    "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6q",
    "sk_live_" + "a1B2c3D4e5F6g7H8i9J0k1L2",
    "rk_live_" + "a1B2c3D4e5F6g7H8i9J0k1L2",
    "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
    "la_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8-_9T0u1",
    JWT,
)

VALUES: dict[PersonalDataType, tuple[str, ...]] = {
    PersonalDataType.EMAIL: (
        "anna.smith@example.com",
        "o'brien+news@mail.example.co.uk",
        "jörg.müller@beispiel.de",
        "иван@пример.рф",
        "anna%40example.com",
    ),
    PersonalDataType.PHONE: (
        "+49 170 1234567",
        "+1 (212) 555-0123",
        "+33 6 12 34 56 78",
        "+447700900123",
        "0044 20 7946 0958",
        "(212) 555-0123",
        "212-555-0123",
        "020 7946 0958",
        "03.93.92.16.85",
    ),
    PersonalDataType.IBAN: (
        "GB82 WEST 1234 5698 7654 32",
        "DE89370400440532013000",
        "NL91 ABNA 0417 1643 00",
        "NO93 8601 1117 947",
        "MT84MALT011000012345MTLCAST001S",
    ),
    PersonalDataType.CARD: (
        "4111111111111111",
        "5555-5555-5555-4444",
        "3782 822463 10005",
        "6011 1111 1111 1117",
        "30569309025904",
    ),
    PersonalDataType.IP_ADDRESS: (
        "203.0.113.77",
        "192.168.17.4",
        "2001:db8:85a3::8a2e:370:7334",
        "fe80::1ff:fe23:4567:890a",
    ),
    PersonalDataType.NATIONAL_ID: (
        "536-90-4399",
        "AB 12 34 56 C",
        "12345678Z",
        "X1234567L",
        "RSSMRA85T10A562S",
        "2 55 08 14 168 025 38",
    ),
    PersonalDataType.SECRET: (*TOKENS, PRIVATE_KEY),
}
