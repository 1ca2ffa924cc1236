// Batches of guest pages, beside a model that does the same page by page. Input: one byte, of which
// bit 0 says whether pages can be given back; then batches: three bytes (size of the header, pages
// of payload, their content; a content of 255 makes the payload one byte short) and a PageBatch.
#include "migration/memory/page_store.h"
#include "tests/fuzz/fuzz.h"

#include <cstring>

namespace homeport::migration {
namespace {

using fuzz::require;

constexpr std::size_t kPages[] = {8, 3};

class Stores {
 public:
  explicit Stores(bool punch) {
    std::vector<PageStore::Target> targets;
    for (std::size_t pages : kPages) {
      blocks_.push_back({std::vector<std::byte>(pages * kPageSize), std::vector<Page>(pages)});
    }
    for (Block& block : blocks_) {
      PageStore::Target target{.bytes = block.memory};
      if (punch) {
        target.punch = [&block](std::uint64_t offset, std::uint64_t size) {
          require(offset <= block.memory.size() && size <= block.memory.size() - offset,
                  "what is given back is in the block");
          std::memset(block.memory.data() + offset, 0, size);
          return true;
        };
      }
      targets.push_back(std::move(target));
    }
    store_.emplace(std::move(targets));
  }

  void apply(const PageBatch& batch, std::size_t payload_size, std::byte content) {
    std::vector<std::byte> payload(payload_size, content);
    if (store_->apply(batch, payload)) imitate(batch, content);
    compare();
  }

 private:
  struct Page {
    std::uint32_t epoch = 0;
    std::byte content{};
  };
  struct Block {
    std::vector<std::byte> memory;
    std::vector<Page> model;
  };

  void imitate(const PageBatch& batch, std::byte content) {
    require(batch.block() < blocks_.size(), "the block exists");
    for (const PageBatch::Run& run : batch.runs()) {
      for (std::uint64_t i = 0; i < run.count(); ++i) {
        Page& page = blocks_[batch.block()].model.at(run.first_page() + i);
        if (batch.epoch() < page.epoch) continue;
        page = {batch.epoch(), run.zero() ? std::byte{} : content};
      }
    }
  }

  void compare() const {
    std::uint64_t missing = 0;
    for (const Block& block : blocks_) {
      for (std::size_t i = 0; i < block.model.size(); ++i) {
        const Page& page = block.model[i];
        if (page.epoch == 0) ++missing;
        for (std::size_t offset : {std::size_t{0}, kPageSize / 2, kPageSize - 1}) {
          require(block.memory[i * kPageSize + offset] == page.content,
                  "a page holds the newest content");
        }
      }
    }
    require(store_->missing_pages() == missing, "pages that are missing are counted");
  }

  std::vector<Block> blocks_;
  std::optional<PageStore> store_;
};

}  // namespace
}  // namespace homeport::migration

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport::migration;
  if (size == 0) return 0;
  Stores stores((data[0] & 1) != 0);
  for (std::size_t at = 1; size - at >= 3;) {
    const std::size_t header = data[at];
    std::size_t payload = data[at + 1] * kPageSize;
    const std::uint8_t content = data[at + 2];
    at += 3;
    if (size - at < header) break;
    PageBatch batch;
    if (!batch.ParseFromArray(data + at, static_cast<int>(header))) break;
    if (content == 255 && payload > 0) --payload;
    stores.apply(batch, payload, static_cast<std::byte>(content));
    at += header;
  }
  return 0;
}
