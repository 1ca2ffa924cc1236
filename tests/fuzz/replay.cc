// Gives every file of a corpus to a fuzz target once: what was found stays mended, without a
// fuzzer.
//
//   <name>_replay DIRECTORY
#include "tests/fuzz/fuzz.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace {

class Replay : public testing::Test {
 public:
  explicit Replay(std::filesystem::path file) : file_(std::move(file)) {}

  void TestBody() override {
    std::ifstream stream(file_, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
    ASSERT_FALSE(stream.bad()) << file_;
    // A copy of exactly this size, so that AddressSanitizer sees a read past its end.
    const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
    EXPECT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }

 private:
  std::filesystem::path file_;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  std::set<std::filesystem::path> files;  // in order
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.insert(entry.path());
  if (files.empty()) {
    std::fprintf(stderr, "there is nothing in %s\n", argv[1]);
    return 1;
  }
  for (const std::filesystem::path& file : files) {
    testing::RegisterTest("Corpus", file.filename().c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [file]() -> testing::Test* { return new Replay(file); });
  }
  return RUN_ALL_TESTS();
}
