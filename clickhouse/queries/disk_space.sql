-- The disks of ClickHouse, the one with least free space first. Bytes.
SELECT name, free_space, total_space
FROM system.disks
WHERE total_space > 0
ORDER BY free_space
