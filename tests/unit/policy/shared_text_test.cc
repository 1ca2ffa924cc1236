#include "policy/shared_text.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace homeport::policy {
namespace {

TEST(SharedTextTest, IsKeptOnce) {
  const SharedText a("a network of a name that is long enough");
  const SharedText b(std::string("a network of a name that is ") + "long enough");
  EXPECT_EQ(a, b);
  EXPECT_EQ(&a.str(), &b.str());
  EXPECT_EQ(sizeof a, sizeof(void*));
}

TEST(SharedTextTest, ReadsAsTheTextItStandsFor) {
  const SharedText blue("blue");
  EXPECT_TRUE(blue == "blue");
  EXPECT_TRUE(std::string("blue") == blue);
  EXPECT_FALSE(blue == SharedText("red"));
  EXPECT_EQ(fmt::format("{:>6}", blue), "  blue");
  std::set<std::string> names;
  names.insert(blue);
  EXPECT_TRUE(names.contains(blue));
  EXPECT_TRUE(SharedText().empty());
}

TEST(SharedTextTest, AssignmentLeavesTheOthersAsTheyAre) {
  SharedText a("blue");
  const SharedText b = a;
  a = std::string("red");
  EXPECT_EQ(a, "red");
  EXPECT_EQ(b, "blue");
}

}  // namespace
}  // namespace homeport::policy
