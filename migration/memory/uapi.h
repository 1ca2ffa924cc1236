// Kernel interfaces newer than the headers of Debian 12 (Linux 6.1). Values from the kernel's
// include/uapi/linux/fs.h and userfaultfd.h (Linux 6.7); see PAGEMAP_SCAN(2const) and
// ioctl_userfaultfd(2). Private to this folder.
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace homeport::migration::uapi {

inline constexpr std::uint64_t kFeatureWpHugetlbfsShmem = 1 << 12;  // UFFD_FEATURE_..., Linux 5.19
inline constexpr std::uint64_t kFeatureWpAsync = 1 << 15;           // UFFD_FEATURE_..., Linux 6.7
inline constexpr std::uint64_t kCaptureFeatures =
    UFFD_FEATURE_PAGEFAULT_FLAG_WP | kFeatureWpHugetlbfsShmem | kFeatureWpAsync;

// struct page_region
struct PageRegion {
  std::uint64_t start, end;  // addresses
  std::uint64_t categories;
};

// struct pm_scan_arg
struct ScanArgument {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start, end;  // addresses
  std::uint64_t walk_end;    // out: where the scan ended
  std::uint64_t vec;         // PageRegion[]
  std::uint64_t vec_len;
  std::uint64_t max_pages;  // 0: no limit
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_anyof_mask;
  std::uint64_t return_mask;
};

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArgument);
inline constexpr std::uint64_t kScanWpMatching = 1 << 0;    // PM_SCAN_WP_MATCHING
inline constexpr std::uint64_t kScanCheckWpAsync = 1 << 1;  // PM_SCAN_CHECK_WPASYNC
inline constexpr std::uint64_t kPageIsWritten = 1 << 1;     // PAGE_IS_WRITTEN

}  // namespace homeport::migration::uapi
