#include "policy/text.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

TEST(Printable, LeavesTextAsItIs) {
  EXPECT_EQ(printable("a guest, h\u00f6rt \u4e16\U0001f600"),
            "a guest, h\u00f6rt \u4e16\U0001f600");
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, ReplacesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("a\nb\x1b[2Jc\x7f"), "a?b?[2Jc?");
  EXPECT_EQ(printable("\u0085"), "?");
}

TEST(Printable, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(printable("a\xff\xfe"), "a??");
  EXPECT_EQ(printable("\xc3"), "?");                                     // cut in the middle
  EXPECT_EQ(printable("\xed\xa0\x80").find('\xed'), std::string::npos);  // a surrogate
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(printable("abc", 2), "ab");
  EXPECT_EQ(printable("a\u00f6", 2), "a");
}

}  // namespace
}  // namespace homeport::policy
